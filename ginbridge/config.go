package ginbridge

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// decodeConfig decodes raw into v as App.Config promises. It first shapes the
// generic JSON value after v's type, then leaves the rest to encoding/json.
func decodeConfig(raw json.RawMessage, v any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	tree, err := decodeTree(raw)
	if err != nil {
		return err
	}
	target := reflect.TypeOf(v)
	if target == nil || target.Kind() != reflect.Pointer {
		return fmt.Errorf("decoding into %T: a pointer is needed", v)
	}
	tree, err = shaper{caddy.NewReplacer()}.shape(tree, target.Elem(), "")
	if err != nil {
		return err
	}
	shaped, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(shaped))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// decodeTree decodes raw into a generic JSON value that keeps numbers as they
// are written.
func decodeTree(raw json.RawMessage) (tree any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&tree)
	return tree, err
}

// shaper fits a generic JSON value to a Go type.
type shaper struct{ repl *caddy.Replacer }

var (
	durationType        = reflect.TypeFor[time.Duration]()
	jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// expand replaces the placeholders of a text. Caddy's replacer gives up on a
// text with very many braces, which is no text with placeholders then.
func (s shaper) expand(text string) string {
	if strings.Count(text, "{") > 100 {
		return text
	}
	return s.repl.ReplaceKnown(text, "")
}

// shape returns value as encoding/json wants it for type t. path is the
// dotted path of the value, for messages.
func (s shaper) shape(value any, t reflect.Type, path string) (any, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if pt := reflect.PointerTo(t); value == nil || pt.Implements(jsonUnmarshalerType) || pt.Implements(textUnmarshalerType) {
		return s.shapeAny(value), nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.shapeStruct(value, t, path)
	case reflect.Map:
		object, ok := value.(map[string]any)
		if !ok {
			return nil, wrongKind(path, "a block", value)
		}
		for key, elem := range object {
			shaped, err := s.shape(elem, t.Elem(), join(path, key))
			if err != nil {
				return nil, err
			}
			object[key] = shaped
		}
		return object, nil
	case reflect.Slice, reflect.Array:
		return s.shapeList(value, t, path)
	case reflect.Interface:
		return s.shapeAny(value), nil
	}
	switch v := value.(type) {
	case []any, map[string]any:
		return nil, wrongKind(path, "one value", value)
	case string:
		value = s.expand(v)
	}
	switch {
	case t == durationType:
		return shapeDuration(value, path)
	case t.Kind() == reflect.String:
		return shapeString(value), nil
	}
	return shapeScalar(value, t, path)
}

// shapeAny replaces placeholders in a value of no known type.
func (s shaper) shapeAny(value any) any {
	switch v := value.(type) {
	case string:
		return s.expand(v)
	case []any:
		for i := range v {
			v[i] = s.shapeAny(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = s.shapeAny(v[key])
		}
	}
	return value
}

func (s shaper) shapeStruct(value any, t reflect.Type, path string) (any, error) {
	fields := jsonFields(t)
	known := strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
	object, ok := value.(map[string]any)
	if !ok {
		return nil, wrongKind(path, "a block with the keys "+known, value)
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		field, ok := fields[key]
		if !ok {
			return nil, fmt.Errorf("unknown key %q; the known keys are: %s", join(path, key), known)
		}
		if field.quoted {
			object[key] = s.shapeAny(object[key])
			continue
		}
		shaped, err := s.shape(object[key], field.typ, join(path, key))
		if err != nil {
			return nil, err
		}
		object[key] = shaped
	}
	return object, nil
}

func (s shaper) shapeList(value any, t reflect.Type, path string) (any, error) {
	if text, ok := value.(string); ok && t.Elem().Kind() == reflect.Uint8 {
		return s.expand(text), nil // base64, as encoding/json has it
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for i := range list {
		shaped, err := s.shape(list[i], t.Elem(), path+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return nil, err
		}
		list[i] = shaped
	}
	return list, nil
}

func shapeDuration(value any, path string) (any, error) {
	text, ok := value.(string)
	if !ok {
		return value, nil
	}
	d, err := caddy.ParseDuration(text)
	if err != nil {
		return nil, fmt.Errorf("key %q: %q is not a duration such as 500ms, 30s or 1d", path, text)
	}
	return int64(d), nil
}

func shapeString(value any) any {
	switch v := value.(type) {
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	return value
}

// shapeScalar converts a string to what a number or a boolean is in JSON.
func shapeScalar(value any, t reflect.Type, path string) (any, error) {
	text, ok := value.(string)
	if !ok {
		return value, nil
	}
	var want string
	var err error
	switch t.Kind() {
	case reflect.Bool:
		var b bool
		if b, err = strconv.ParseBool(text); err == nil {
			return b, nil
		}
		want = "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		if n, err = strconv.ParseInt(text, 10, t.Bits()); err == nil {
			return n, nil
		}
		want = fmt.Sprintf("a whole number of %d bits", t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		var n uint64
		if n, err = strconv.ParseUint(text, 10, t.Bits()); err == nil {
			return n, nil
		}
		want = fmt.Sprintf("a whole number of %d bits, not negative", t.Bits())
	case reflect.Float32, reflect.Float64:
		var f float64
		if f, err = strconv.ParseFloat(text, t.Bits()); err == nil && f-f == 0 { // finite
			return f, nil
		}
		want = "a number"
	default:
		return value, nil
	}
	return nil, fmt.Errorf("key %q: %q is not %s", path, text, want)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// wrongKind is the error for a value that is not what key path wants.
func wrongKind(path, want string, value any) error {
	got := fmt.Sprint(value)
	switch v := value.(type) {
	case []any:
		got = "a list"
	case map[string]any:
		got = "a block"
	case string:
		got = strconv.Quote(v)
	}
	if path == "" {
		return fmt.Errorf("want %s, not %s", want, got)
	}
	return fmt.Errorf("key %q: want %s, not %s", path, want, got)
}
