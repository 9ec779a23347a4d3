package caddygin

import "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

// parseConfigBlock parses the block of a config option, whose name is the
// current token, to the JSON that the app's configuration is. Values stay
// strings here; ginbridge converts them to what the app's struct has, so that
// "007" is not a 7 to an app that wants text.
//
//	key value           "key": "value"
//	key a b             "key": ["a", "b"]
//	key                 "key": true
//	key { … }           "key": { … }
//	key name { … }      "key": { "name": { … } }
//
// A key that stands more than once makes a list, except that named blocks of
// the same key are put together. The result is nil if there is no block.
func parseConfigBlock(d *caddyfile.Dispenser) (map[string]any, error) {
	nesting := d.Nesting()
	if !d.NextBlock(nesting) {
		if t := d.Token(); t.Text == "}" && !t.Quoted() { // a block without entries
			return make(map[string]any), nil
		}
		return nil, nil
	}
	object := make(map[string]any)
	for more := true; more; more = d.NextBlock(nesting) {
		if err := parseConfigEntry(d, object); err != nil {
			return nil, err
		}
	}
	for key, value := range object {
		if named, ok := value.(namedBlocks); ok {
			object[key] = map[string]any(named)
		}
	}
	return object, nil
}

func parseConfigEntry(d *caddyfile.Dispenser, object map[string]any) error {
	key := d.Val()
	args := d.RemainingArgs()
	block, err := parseConfigBlock(d)
	if err != nil {
		return err
	}
	if block != nil && len(args) > 1 {
		return d.Errf("config key %q: a block can follow one name, not %d values", key, len(args))
	}
	isNamed := block != nil && len(args) == 1
	if _, named := object[key].(namedBlocks); object[key] != nil && named != isNamed {
		return d.Errf("config key %q: has both named blocks and other values", key)
	}
	switch {
	case isNamed:
		return addNamedBlock(d, object, key, args[0], block)
	case block != nil:
		addValue(object, key, block)
	case len(args) == 0:
		addValue(object, key, true)
	default:
		for _, arg := range args {
			addValue(object, key, arg)
		}
	}
	return nil
}

// namedBlocks are the blocks of one key by their names, while the block that
// they stand in is being parsed.
type namedBlocks map[string]any

func addNamedBlock(d *caddyfile.Dispenser, object map[string]any, key, name string, block map[string]any) error {
	named, _ := object[key].(namedBlocks)
	if named == nil {
		named = make(namedBlocks)
		object[key] = named
	}
	if _, twice := named[name]; twice {
		return d.Errf("config key %q: the block %q is given twice", key, name)
	}
	named[name] = block
	return nil
}

// addValue sets object[key] to value, or makes it a list.
func addValue(object map[string]any, key string, value any) {
	switch old := object[key].(type) {
	case nil:
		object[key] = value
	case []any:
		object[key] = append(old, value)
	default:
		object[key] = []any{old, value}
	}
}
