package ginbridge

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// The value of a placeholder is a value, whatever it looks like: it may come
// from somebody who may not read the environment.
func TestPlaceholdersAreReplacedOnce(t *testing.T) {
	t.Setenv("OPT_SECRET", "secret")
	t.Setenv("OPT_INPUT", "{env.OPT_SECRET}")
	for _, field := range []string{"text", "list", "any", "either"} {
		var got kinds
		if err := decodeConfig(json.RawMessage(`{"`+field+`": "{env.OPT_INPUT}"}`), &got); err != nil {
			t.Fatal(err)
		}
		if raw, _ := json.Marshal([]any{got.Text, got.List, got.Any, got.Either.got}); strings.Contains(string(raw), `"secret"`) {
			t.Errorf("%s: got %s", field, raw)
		}
	}
}

// Caddy's replacer gives up at so many open braces, which is no reason to
// lose the text.
func TestTextWithManyBracesIsKept(t *testing.T) {
	t.Parallel()
	for _, braces := range []int{100, 101, 1000} {
		var got kinds
		want := strings.Repeat("{", braces)
		if err := decodeConfig(json.RawMessage(`{"text": "`+want+`"}`), &got); err == nil && got.Text != want {
			t.Errorf("%d braces: got %d bytes and no error", braces, len(got.Text))
		}
	}
}

// encoding/json has rules for names that occur more than once.
func TestEmbeddedFieldsAreFoundAsEncodingJSONFindsThem(t *testing.T) {
	t.Parallel()
	type Deepest struct {
		X int `json:"x"`
	}
	type Deep struct{ Deepest }
	type Shallow struct {
		X string `json:"x"`
	}
	var shallow struct { // the less deep one wins
		Deep
		Shallow
	}
	if err := decodeConfig(json.RawMessage(`{"x": "text"}`), &shallow); err != nil || shallow.X != "text" {
		t.Errorf("less deep: got %+v, %v", shallow, err)
	}
	type Tagged struct {
		Y string `json:"Y"`
	}
	type Untagged struct{ Y int }
	var tagged struct { // the one with a tag wins
		Untagged
		Tagged
	}
	if err := decodeConfig(json.RawMessage(`{"Y": "text"}`), &tagged); err != nil || tagged.Tagged.Y != "text" {
		t.Errorf("tagged: got %+v, %v", tagged, err)
	}
	var dash struct {
		Dash int `json:"-,"` //nolint:staticcheck // the way to name a key "-"
	}
	if err := decodeConfig(json.RawMessage(`{"-": "5"}`), &dash); err != nil || dash.Dash != 5 {
		t.Errorf("a key that is a dash: got %+v, %v", dash, err)
	}
	var list struct {
		L []int `json:"l,string"` //nolint:staticcheck // ",string" means nothing to a list
	}
	if err := decodeConfig(json.RawMessage(`{"l": ["5"]}`), &list); err != nil || !reflect.DeepEqual(list.L, []int{5}) {
		t.Errorf(`a list with ",string": got %+v, %v`, list, err)
	}
}

func TestConfigErrorsNameTheKeyAndWhatItWants(t *testing.T) {
	t.Parallel()
	known := []string{"Promoted", "Untagged", "addr", "any", "blocks", "bool", "bytes", "either", "every", "float", "float32",
		"inherited", "int", "int8", "ints", "list", "lists", "map", "map_int", "map_nest", "nested", "number", "pair",
		"ptr_every", "ptr_int", "ptr_nest", "quoted", "shadowed", "text", "uint16", "upper", "uppers"}
	for text, want := range map[string]string{
		`{"txt": 1}`:                       `unknown key "txt"; the known keys are: ` + strings.Join(known, ", "),
		`{"Text": "x"}`:                    `unknown key "Text"; the known keys are: `,
		`{"hidden": 1}`:                    `unknown key "hidden"`,
		`{"Skipped": 1}`:                   `unknown key "Skipped"`,
		`{"-": 1}`:                         `unknown key "-"`,
		`{"": 1}`:                          `unknown key ""`,
		`{"nested": {"siz": 1}}`:           `unknown key "nested.siz"; the known keys are: deep, every, size`,
		`{"ptr_nest": {"deep": {"x": 1}}}`: `unknown key "ptr_nest.deep.x"; the known keys are: deep, every, size`,
		`{"blocks": [{}, {"x": 1}]}`:       `unknown key "blocks[1].x"; the known keys are: deep, every, size`,
		`{"map_nest": {"eu": {"x": 1}}}`:   `unknown key "map_nest.eu.x"; the known keys are: deep, every, size`,
		`{"int": "many"}`:                  `key "int": "many" is not a whole number of 64 bits`,
		`{"int": ""}`:                      `key "int": "" is not a whole number`,
		`{"int": "1.5"}`:                   `key "int": "1.5" is not a whole number`,
		`{"int": "{env.OPT_NOT_SET}"}`:     `key "int": "" is not a whole number`,
		`{"int8": "128"}`:                  `key "int8": "128" is not a whole number of 8 bits`,
		`{"uint16": "65536"}`:              `key "uint16": "65536" is not a whole number of 16 bits, not negative`,
		`{"uint16": "-1"}`:                 `key "uint16": "-1" is not a whole number of 16 bits, not negative`,
		`{"float": "NaN"}`:                 `key "float": "NaN" is not a number`,
		`{"float": "1e999"}`:               `key "float": "1e999" is not a number`,
		`{"float32": "1e39"}`:              `key "float32": "1e39" is not a number`,
		`{"bool": "yes"}`:                  `key "bool": "yes" is not true or false`,
		`{"every": "often"}`:               `key "every": "often" is not a duration such as 500ms, 30s or 1d`,
		`{"every": "5"}`:                   `key "every": "5" is not a duration`,
		`{"nested": {"every": "x"}}`:       `key "nested.every": "x" is not a duration`,
		`{"ints": ["1", "x"]}`:             `key "ints[1]": "x" is not a whole number`,
		`{"map": {"a": "x"}}`:              `key "map.a": "x" is not a whole number`,
		`{"nested": "x"}`:                  `key "nested": want a block with the keys deep, every, size, not "x"`,
		`{"nested": true}`:                 `key "nested": want a block with the keys deep, every, size, not true`,
		`{"nested": [{}]}`:                 `key "nested": want a block with the keys deep, every, size, not a list`,
		// what encoding/json refuses
		`{"text": ["a", "b"]}`: `text`, `{"text": {"a": 1}}`: `text`, `{"int": [1]}`: `int`, `{"int8": 128}`: `int8`,
		`{"map": "x"}`: `map`, `{"bool": 1}`: `bool`, `{"every": 1.5}`: `every`, `{"bytes": "%"}`: `base64`,
		`{"upper": "bad"}`: `bad is bad`, `{"quoted": 5}`: `quoted`, `{"addr": "x"}`: `x`,
	} {
		var got kinds
		if err := decodeConfig(json.RawMessage(text), &got); err == nil {
			t.Errorf("%s: got %+v and no error", text, got)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %q, want %q", text, err, want)
		}
	}
}

// A list where a text, a number or a block is wanted is a mistake that a
// Caddyfile invites: the message must be for the one who writes it, without
// the names of Go's types.
func TestConfigErrorsOfWrongKindsAreForOperators(t *testing.T) {
	t.Parallel()
	for text, key := range map[string]string{
		`{"text": ["a", "b"]}`: `"text"`, `{"int": [1, 2]}`: `"int"`, `{"bool": {"a": "b"}}`: `"bool"`,
		`{"nested": {"size": ["1", "2"]}}`: `"nested.size"`, `{"map": ["a"]}`: `"map"`, `{"every": ["1s", "2s"]}`: `"every"`,
	} {
		var got kinds
		err := decodeConfig(json.RawMessage(text), &got)
		if err == nil || !strings.Contains(err.Error(), "key "+key) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: got the error %v", text, err)
		}
	}
}
