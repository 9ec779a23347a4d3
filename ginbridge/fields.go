package ginbridge

import (
	"reflect"
	"slices"
	"strings"
)

// jsonField is a field of a struct as encoding/json sees it.
type jsonField struct {
	typ    reflect.Type
	quoted bool // has the option ",string"
	tagged bool // its name comes from its tag
	secret bool // has the tag gin:"secret"
	depth  int  // of embedding
}

// jsonFields returns the fields of a struct type by their JSON names, those
// of embedded structs included. Where several have a name, encoding/json
// takes the least deep one, then the tagged one, and none if that leaves two.
func jsonFields(t reflect.Type) map[string]jsonField {
	found := make(map[string][]jsonField)
	collectFields(t, 0, nil, found)
	fields := make(map[string]jsonField)
	for name, all := range found {
		rank := func(f jsonField) int {
			if f.tagged {
				return 2 * f.depth
			}
			return 2*f.depth + 1
		}
		slices.SortStableFunc(all, func(a, b jsonField) int { return rank(a) - rank(b) })
		if len(all) == 1 || rank(all[0]) < rank(all[1]) {
			fields[name] = all[0]
		}
	}
	return fields
}

// collectFields adds the fields of t, which is embedded in the types of
// within.
func collectFields(t reflect.Type, depth int, within []reflect.Type, found map[string][]jsonField) {
	if slices.Contains(within, t) {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		if f.Anonymous && name == "" && embedded.Kind() == reflect.Struct {
			collectFields(embedded, depth+1, append(slices.Clone(within), t), found)
			continue
		}
		if !f.IsExported() {
			continue
		}
		field := jsonField{typ: f.Type, tagged: name != "", depth: depth, secret: f.Tag.Get("gin") == "secret"}
		if name == "" {
			name = f.Name
		}
		field.quoted = slices.Contains(strings.Split(options, ","), "string") && quotable(f.Type)
		found[name] = append(found[name], field)
	}
}

// quotable tells whether the option ",string" has a meaning for type t.
func quotable(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() >= reflect.Bool && t.Kind() <= reflect.Float64 || t.Kind() == reflect.String
}
