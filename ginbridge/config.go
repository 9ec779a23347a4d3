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
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return err
	}
	target := reflect.TypeOf(v)
	if target == nil || target.Kind() != reflect.Pointer {
		return fmt.Errorf("decoding into %T: a pointer is needed", v)
	}
	tree, err := shaper{caddy.NewReplacer()}.shape(tree, target.Elem(), "")
	if err != nil {
		return err
	}
	shaped, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	dec = json.NewDecoder(bytes.NewReader(shaped))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// shaper fits a generic JSON value to a Go type.
type shaper struct{ repl *caddy.Replacer }

var (
	durationType        = reflect.TypeFor[time.Duration]()
	jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// shape returns value as encoding/json wants it for type t. path is the
// dotted path of the value, for messages.
func (s shaper) shape(value any, t reflect.Type, path string) (any, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if text, ok := value.(string); ok {
		value = s.repl.ReplaceKnown(text, "")
	}
	if t == durationType {
		return shapeDuration(value, path)
	}
	if pt := reflect.PointerTo(t); pt.Implements(jsonUnmarshalerType) || pt.Implements(textUnmarshalerType) {
		return s.shapeAny(value), nil
	}
	switch t.Kind() {
	case reflect.Struct:
		return s.shapeStruct(value, t, path)
	case reflect.Map:
		object, ok := value.(map[string]any)
		if !ok {
			return value, nil
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
	case reflect.String:
		return shapeString(value), nil
	case reflect.Interface:
		return s.shapeAny(value), nil
	default:
		return shapeScalar(value, t, path)
	}
}

// shapeAny replaces placeholders in a value of no known type.
func (s shaper) shapeAny(value any) any {
	switch v := value.(type) {
	case string:
		return s.repl.ReplaceKnown(v, "")
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
	object, ok := value.(map[string]any)
	if !ok {
		if value == nil {
			return nil, nil
		}
		return nil, fmt.Errorf("key %q: want a block with the keys %s, not %s",
			path, strings.Join(slices.Sorted(maps.Keys(jsonFields(t))), ", "), describe(value))
	}
	fields := jsonFields(t)
	for _, key := range slices.Sorted(maps.Keys(object)) {
		field, known := fields[key]
		if !known {
			return nil, fmt.Errorf("unknown key %q; the known keys are: %s",
				join(path, key), strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
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
	if t.Elem().Kind() == reflect.Uint8 { // base64, as encoding/json has it
		return value, nil
	}
	list, ok := value.([]any)
	if !ok {
		if value == nil {
			return nil, nil
		}
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

// jsonField is a field as encoding/json sees it.
type jsonField struct {
	typ    reflect.Type
	quoted bool // has the option ",string"
}

// jsonFields returns the fields of a struct type by their JSON names, those
// of embedded structs included.
func jsonFields(t reflect.Type) map[string]jsonField {
	fields := make(map[string]jsonField)
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" && options == "" {
			continue
		}
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		if f.Anonymous && name == "" && embedded.Kind() == reflect.Struct && embedded != t {
			for promoted, field := range jsonFields(embedded) {
				if _, shadowed := fields[promoted]; !shadowed {
					fields[promoted] = field
				}
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields[name] = jsonField{f.Type, slices.Contains(strings.Split(options, ","), "string")}
	}
	return fields
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func describe(value any) string {
	switch v := value.(type) {
	case []any:
		return "a list"
	case string:
		return strconv.Quote(v)
	default:
		return fmt.Sprint(v)
	}
}
