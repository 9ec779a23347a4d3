package ginbridge

import (
	"bytes"
	"encoding/json"
	"reflect"
)

// redacted stands for a secret, as in Caddy's logs.
const redacted = "REDACTED"

// mask returns a configuration without its secrets: the fields of t, or of
// what it consists of, that have the tag gin:"secret", and whatever t says
// nothing about. Nil is returned for what is no JSON.
func mask(raw json.RawMessage, t reflect.Type) json.RawMessage {
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil
	}
	tree, err := decodeTree(raw)
	if err != nil {
		return nil
	}
	masked, err := json.Marshal(maskValue(tree, t))
	if err != nil {
		return nil
	}
	return masked
}

func maskValue(value any, t reflect.Type) any {
	if value == nil {
		return nil
	}
	if t == nil {
		return redacted
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := value.(type) {
	case map[string]any:
		return maskObject(v, t)
	case []any:
		if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
			t = t.Elem()
		}
		for i := range v {
			v[i] = maskValue(v[i], t)
		}
	}
	return value
}

func maskObject(object map[string]any, t reflect.Type) any {
	switch t.Kind() {
	case reflect.Struct:
		fields := jsonFields(t)
		for key, value := range object {
			// a key by another case is none of these, but may be decoded
			if field, known := fields[key]; known && !field.secret {
				object[key] = maskValue(value, field.typ)
			} else {
				object[key] = redacted
			}
		}
	case reflect.Map:
		for key, value := range object {
			object[key] = maskValue(value, t.Elem())
		}
	case reflect.Slice, reflect.Array: // one value may stand for a list of one
		return maskValue(object, t.Elem())
	}
	return object
}
