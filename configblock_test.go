package caddygin

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// parseBlock parses what follows the word "config".
func parseBlock(text string) (map[string]any, error) {
	tokens, err := caddyfile.Tokenize([]byte("config "+text), "Caddyfile")
	if err != nil {
		return nil, err
	}
	d := caddyfile.NewDispenser(tokens)
	d.Next() // the word
	return parseConfigBlock(d)
}

func TestConfigBlock(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                       `null`,
		"{\n}":                                   `{}`,
		"{\na 1\n}":                              `{"a": "1"}`,
		"{\na\n}":                                `{"a": true}`,
		"{\na true\n}":                           `{"a": "true"}`,
		"{\na \"\"\n}":                           `{"a": ""}`,
		"{\na b c\n}":                            `{"a": ["b", "c"]}`,
		"{\na b\na c\n}":                         `{"a": ["b", "c"]}`,
		"{\na b c\na d\n}":                       `{"a": ["b", "c", "d"]}`,
		"{\na\na b\n}":                           `{"a": [true, "b"]}`,
		"{\na {\nb 1\n}\n}":                      `{"a": {"b": "1"}}`,
		"{\na {\n}\n}":                           `{"a": {}}`,
		"{\na {\n}\na {\nb\n}\n}":                `{"a": [{}, {"b": true}]}`,
		"{\na b {\nc 1\n}\n}":                    `{"a": {"b": {"c": "1"}}}`,
		"{\na b {\nc 1\n}\na d {\n}\n}":          `{"a": {"b": {"c": "1"}, "d": {}}}`,
		"{\na b {\n}\n}":                         `{"a": {"b": {}}}`,
		"{\na {\nb {\nc {\nd e\n}\n}\n}\nf g\n}": `{"a": {"b": {"c": {"d": "e"}}}, "f": "g"}`,
		"{\na \"}\"\nb c\n}":                     `{"a": "}", "b": "c"}`,
		"{\na \"{\"\nb c\n}":                     `{"a": "{", "b": "c"}`,
		"{\n\"}\" c\n}":                          `{"}": "c"}`,
		"{\n\"}\"\na b\n}":                       `{"}": true, "a": "b"}`,
		"{\n\"{\"\na b\n}":                       `{"{": true, "a": "b"}`,
		"{\na {\n\"}\"\n}\nb c\n}":               `{"a": {"}": true}, "b": "c"}`,
		"{\n\"a key\" `x \"y\"`\n}":              `{"a key": "x \"y\""}`,
		"{\na {env.X} y{env.X}z\n}":              `{"a": ["{env.X}", "y{env.X}z"]}`,
		"{\na # a comment\nb # another\n}":       `{"a": true, "b": true}`,
		"{\na b \\\nc\n}":                        `{"a": ["b", "c"]}`,
		"{\na <<END\nx\ny\nEND\n}":               `{"a": "x\ny"}`,
		"{\n\"\" x\n}":                           `{"": "x"}`,
	} {
		got, err := parseBlock(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		raw, err := json.Marshal(got)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if !sameJSON(t, raw, []byte(want)) {
			t.Errorf("%q: got %s, want %s", text, raw, want)
		}
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatalf("%s, %s: %v", a, b, err)
	}
	return reflect.DeepEqual(x, y)
}

// A key has named blocks or values, whichever stands first; mixed up, one of
// them would vanish in the other.
func TestConfigBlockMixesNoNamedBlocksWithValues(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"{\na b\na c {\n}\n}",
		"{\na c {\n}\na b\n}",
		"{\na\na c {\n}\n}",
		"{\na c {\n}\na\n}",
		"{\na {\nx 1\n}\na c {\n}\n}",
		"{\na c {\n}\na {\nx 1\n}\n}",
		"{\na {\nc 1\n}\na c {\n}\n}",
	} {
		got, err := parseBlock(text)
		if err == nil {
			raw, _ := json.Marshal(got)
			t.Errorf("%q: got %s, want an error", text, raw)
		} else if !strings.Contains(err.Error(), `config key "a": has both named blocks and other values`) {
			t.Errorf("%q: got the error %v", text, err)
		}
	}
}

func FuzzConfigBlock(f *testing.F) {
	for _, seed := range []string{
		"", "{\n}", "{}", "{ }", "{\na\n}", "{\na b c\na d\n}", "{\na {\nb {\nc d\n}\n}\n}", "{\na b {\nc\n}\na d {\n}\n}",
		"{\na \"{\"\nb \"}\"\n}", "{\n\"}\"\n}", "{\n\"{\"\n}", "{\n}\n}", "{\na }\n}", "{ a b }", "{\na {", "}", "} {", "{\n{\n{\n", "a b {\n}",
		"{\na <<X\ny\nX\n}", "{\na {env.X}\n}", "{\na b {\n}\na b\n}", "{\na b {\n}\na {\nb\n}\n}", "{\na \\\nb\n}", "\"a\" {\n}", "{\n# x\n}", "\x00{\n\xff\n}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		hang := time.AfterFunc(30*time.Second, func() { panic(fmt.Sprintf("%q takes too long", text)) })
		defer hang.Stop()
		got, err := parseBlock(text)
		if err != nil {
			return
		}
		raw, err := json.Marshal(got)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if string(raw) != "null" && raw[0] != '{' {
			t.Errorf("%q: the configuration is %s", text, raw)
		}
	})
}
