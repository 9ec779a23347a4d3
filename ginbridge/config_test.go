package ginbridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// upper is text with rules of its own.
type upper string

func (u *upper) UnmarshalText(text []byte) error {
	if string(text) == "bad" {
		return errors.New("bad is bad")
	}
	*u = upper(strings.ToUpper(string(text)))
	return nil
}

// either is a number or a text.
type either struct{ got any }

func (e *either) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &e.got) }

type limits struct {
	Size  int64         `json:"size"`
	Every time.Duration `json:"every"`
	Deep  *limits       `json:"deep"`
}

type base struct {
	Inherited int `json:"inherited"`
	Shadowed  int `json:"shadowed"`
}

type Wide struct{ Promoted []string }

// kinds has fields of many kinds.
type kinds struct {
	base
	*Wide
	Shadowed string                `json:"shadowed"`
	Text     string                `json:"text"`
	Bool     bool                  `json:"bool"`
	Int      int                   `json:"int"`
	Int8     int8                  `json:"int8"`
	Uint16   uint16                `json:"uint16"`
	Float    float64               `json:"float"`
	Float32  float32               `json:"float32"`
	Every    time.Duration         `json:"every"`
	PtrInt   *int                  `json:"ptr_int"`
	PtrEvery **time.Duration       `json:"ptr_every"`
	List     []string              `json:"list"`
	Ints     []int                 `json:"ints"`
	Pair     [2]int                `json:"pair"`
	Nested   limits                `json:"nested"`
	PtrNest  *limits               `json:"ptr_nest"`
	Blocks   []limits              `json:"blocks"`
	Map      map[string]int        `json:"map"`
	MapNest  map[string]*limits    `json:"map_nest"`
	MapInt   map[int]string        `json:"map_int"`
	Any      any                   `json:"any"`
	Quoted   int                   `json:"quoted,string"`
	Upper    upper                 `json:"upper"`
	Uppers   []upper               `json:"uppers"`
	Addr     netip.Addr            `json:"addr"`
	Either   either                `json:"either"`
	Bytes    []byte                `json:"bytes"`
	Number   json.Number           `json:"number"`
	Lists    map[string][][]string `json:"lists"`
	Skipped  int                   `json:"-"`
	Untagged int
	hidden   int //nolint:unused // must not be a known key
}

func TestConfigIsConvertedToTheKindOfTheField(t *testing.T) {
	t.Setenv("OPT_WORD", "word")
	t.Setenv("OPT_NUMBER", "42")
	t.Setenv("OPT_EMPTY", "")
	t.Setenv("OPT_NESTED", "{env.OPT_WORD}")
	n, every := 7, 1500*time.Millisecond
	ptrEvery := &every
	for text, want := range map[string]kinds{
		`{}`:                                    {},
		``:                                      {},
		`null`:                                  {},
		`{"text": "x"}`:                         {Text: "x"},
		`{"text": ""}`:                          {},
		`{"text": "007"}`:                       {Text: "007"},
		`{"text": 7.50}`:                        {Text: "7.50"},
		`{"text": true}`:                        {Text: "true"},
		`{"text": null}`:                        {},
		`{"bool": "true"}`:                      {Bool: true},
		`{"bool": "1"}`:                         {Bool: true},
		`{"bool": true}`:                        {Bool: true},
		`{"bool": "false"}`:                     {},
		`{"int": "-12"}`:                        {Int: -12},
		`{"int": "0012"}`:                       {Int: 12},
		`{"int8": "-128"}`:                      {Int8: -128},
		`{"uint16": "65535"}`:                   {Uint16: 65535},
		`{"float": "2.5e3"}`:                    {Float: 2500},
		`{"float32": "0.5"}`:                    {Float32: 0.5},
		`{"every": "1.5s"}`:                     {Every: every},
		`{"every": "2d"}`:                       {Every: 48 * time.Hour},
		`{"every": 1500000000}`:                 {Every: every},
		`{"ptr_int": "7"}`:                      {PtrInt: &n},
		`{"ptr_int": null}`:                     {},
		`{"ptr_every": "1.5s"}`:                 {PtrEvery: &ptrEvery},
		`{"list": "a"}`:                         {List: []string{"a"}},
		`{"list": ["a", 1, true]}`:              {List: []string{"a", "1", "true"}},
		`{"list": []}`:                          {List: []string{}},
		`{"ints": "5"}`:                         {Ints: []int{5}},
		`{"ints": 5}`:                           {Ints: []int{5}},
		`{"ints": ["5", 6]}`:                    {Ints: []int{5, 6}},
		`{"pair": ["5", 6]}`:                    {Pair: [2]int{5, 6}},
		`{"nested": {"size": "5"}}`:             {Nested: limits{Size: 5}},
		`{"ptr_nest": {"every": "1.5s"}}`:       {PtrNest: &limits{Every: every}},
		`{"ptr_nest": {"deep": {"size": "1"}}}`: {PtrNest: &limits{Deep: &limits{Size: 1}}},
		`{"blocks": {"size": "5"}}`:             {Blocks: []limits{{Size: 5}}},
		`{"blocks": [{"size": "5"}, {}]}`:       {Blocks: []limits{{Size: 5}, {}}},
		`{"map": {"a": "1", "b": 2}}`:           {Map: map[string]int{"a": 1, "b": 2}},
		`{"map_nest": {"a": {"size": "1"}}}`:    {MapNest: map[string]*limits{"a": {Size: 1}}},
		`{"map_int": {"1": 2}}`:                 {MapInt: map[int]string{1: "2"}},
		`{"any": {"a": ["1", 2, true]}}`:        {Any: map[string]any{"a": []any{"1", 2.0, true}}},
		`{"quoted": "5"}`:                       {Quoted: 5},
		`{"upper": "x"}`:                        {Upper: "X"},
		`{"uppers": "x"}`:                       {Uppers: []upper{"X"}},
		`{"addr": "192.0.2.1"}`:                 {Addr: netip.MustParseAddr("192.0.2.1")},
		`{"either": "5"}`:                       {Either: either{"5"}},
		`{"bytes": "aGk="}`:                     {Bytes: []byte("hi")},
		`{"number": 1.50}`:                      {Number: "1.50"},
		`{"number": "1.50"}`:                    {Number: "1.50"},
		`{"lists": {"a": "b"}}`:                 {Lists: map[string][][]string{"a": {{"b"}}}},
		`{"inherited": "1"}`:                    {base: base{Inherited: 1}},
		`{"shadowed": "x"}`:                     {Shadowed: "x"},
		`{"Promoted": "x"}`:                     {Wide: &Wide{[]string{"x"}}},
		`{"Untagged": "1"}`:                     {Untagged: 1},
		// placeholders
		`{"text": "a {env.OPT_WORD} b"}`:           {Text: "a word b"},
		`{"text": "{env.OPT_UNSET}"}`:              {},
		`{"text": "{env.OPT_EMPTY}"}`:              {},
		`{"text": "{no.such.placeholder}"}`:        {Text: "{no.such.placeholder}"},
		`{"text": "{}"}`:                           {Text: "{}"},
		`{"text": "{env.OPT_NESTED}"}`:             {Text: "{env.OPT_WORD}"},
		`{"int": "{env.OPT_NUMBER}"}`:              {Int: 42},
		`{"ptr_int": "{env.OPT_UNSET}7"}`:          {PtrInt: &n},
		`{"every": "{env.OPT_NUMBER}ms"}`:          {Every: 42 * time.Millisecond},
		`{"list": "{env.OPT_WORD}"}`:               {List: []string{"word"}},
		`{"map": {"a": "{env.OPT_NUMBER}"}}`:       {Map: map[string]int{"a": 42}},
		`{"nested": {"size": "{env.OPT_NUMBER}"}}`: {Nested: limits{Size: 42}},
		`{"any": "{env.OPT_WORD}"}`:                {Any: "word"},
		`{"any": {"a": ["{env.OPT_WORD}"]}}`:       {Any: map[string]any{"a": []any{"word"}}},
		`{"upper": "{env.OPT_WORD}"}`:              {Upper: "WORD"},
		`{"either": ["{env.OPT_WORD}"]}`:           {Either: either{[]any{"word"}}},
		`{"quoted": "{env.OPT_NUMBER}"}`:           {Quoted: 42},
	} {
		var got kinds
		if err := decodeConfig(json.RawMessage(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestConfigKeepsDefaults(t *testing.T) {
	t.Parallel()
	one := 1
	got := kinds{Text: "default", Int: 5, List: []string{"a"}, Nested: limits{Size: 1, Every: time.Second},
		Map: map[string]int{"a": 1}, PtrInt: &one, PtrNest: &limits{Size: 3}}
	if err := decodeConfig(json.RawMessage(`{"int": "6", "nested": {"size": "2"}, "map": {"b": "2"}, "ptr_nest": {"every": "1s"}}`), &got); err != nil {
		t.Fatal(err)
	}
	want := kinds{Text: "default", Int: 6, List: []string{"a"}, Nested: limits{Size: 2, Every: time.Second},
		Map: map[string]int{"a": 1, "b": 2}, PtrInt: &one, PtrNest: &limits{Size: 3, Every: time.Second}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestConfigIntoWhatIsNoStruct(t *testing.T) {
	t.Parallel()
	var m map[string]any
	if err := decodeConfig(json.RawMessage(`{"a": {"b": "c"}}`), &m); err != nil || !reflect.DeepEqual(m, map[string]any{"a": map[string]any{"b": "c"}}) {
		t.Errorf("got %v, %v", m, err)
	}
	var p *limits
	if err := decodeConfig(json.RawMessage(`{"size": "5"}`), &p); err != nil || p == nil || p.Size != 5 {
		t.Errorf("got %v, %v", p, err)
	}
	for _, v := range []any{nil, limits{}, 5, (*limits)(nil)} {
		if err := decodeConfig(json.RawMessage(`{"size": 5}`), v); err == nil {
			t.Errorf("decoding into %T: no error", v)
		}
	}
	for _, bad := range []string{"{", "[1]", `"x"`, "5"} {
		var l limits
		if err := decodeConfig(json.RawMessage(bad), &l); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func FuzzDecodeConfig(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `5`, `"x"`, `[]`, `{`, `{"text": "x", "bool": true, "int": -1, "float": 1e3, "every": 5}`, `{"text": 5}`,
		`{"int": "5", "ints": "6", "list": "a", "every": "1.5s"}`, `{"int": 1.0}`, `{"int": 1e2}`, `{"int8": 128}`, `{"float": 1e999}`,
		`{"ptr_int": 1, "ptr_every": 2, "ptr_nest": {"deep": {"deep": null}}}`, `{"nested": null, "list": null, "map": null, "pair": null}`,
		`{"blocks": [null, {"size": 1}], "pair": [1, 2, 3], "lists": {"a": [["b"], null]}}`, `{"map_nest": {"a": {"size": 1}, "b": null}}`,
		`{"map_int": {"1": "a"}}`, `{"map_int": {"x": "a"}}`, `{"any": {"a": [1, "b", null, {"c": 1e-7}]}}`, `{"either": {"a": 1}, "upper": "x"}`,
		`{"upper": 5}`, `{"addr": "::1"}`, `{"quoted": "5"}`, `{"quoted": 5}`, `{"quoted": "null"}`, `{"bytes": "aGk="}`, `{"bytes": [1, 2]}`, `{"number": 1.50}`,
		`{"inherited": 1, "shadowed": "x", "Promoted": ["a"]}`, `{"text": "{env.HOME}"}`, `{"text": "\ud800 \u2028 <&>"}`, `{"unknown": 1}`,
		`{"nested": {"size": {"a": 1}}}`, `{"nested": 5}`, `{"map": {"a": 1, "b": "2"}}`, `{"Text": "x"}`, `{"text": "a", "text": "b"}`, `{"every": "x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got, want kinds
		gotErr := decodeConfig(raw, &got)
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if dec.Decode(&want) != nil || !plain(json.NewDecoder(bytes.NewReader(raw))) {
			return
		}
		if gotErr != nil {
			t.Fatalf("%s: encoding/json accepts it, but: %v", raw, gotErr)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: got %+v, encoding/json has %+v", raw, got, want)
		}
	})
}

// plain tells whether a JSON value has nothing that decodeConfig treats in a
// way of its own: placeholders, keys that are known in another case only, and
// keys that stand twice.
func plain(dec *json.Decoder) bool {
	tok, err := dec.Token()
	if err != nil {
		return false
	}
	if text, ok := tok.(string); ok {
		return !strings.ContainsAny(text, "{}")
	}
	if tok != json.Delim('{') && tok != json.Delim('[') {
		return true
	}
	seen := make(map[string]bool)
	for dec.More() {
		if tok == json.Delim('{') {
			key, err := dec.Token()
			if err != nil || seen[key.(string)] || inAnotherCase(key.(string)) {
				return false
			}
			seen[key.(string)] = true
		}
		if !plain(dec) {
			return false
		}
	}
	_, err = dec.Token()
	return err == nil
}

func inAnotherCase(key string) bool {
	exact, folded := false, false
	for _, t := range []reflect.Type{reflect.TypeFor[kinds](), reflect.TypeFor[limits]()} {
		for name := range jsonFields(t) {
			exact = exact || name == key
			folded = folded || strings.EqualFold(name, key)
		}
	}
	return folded && !exact
}
