package ginbridge

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestMaskedConfigs(t *testing.T) {
	type dsn struct {
		Host     string `json:"host"`
		Password string `json:"password" gin:"secret"`
	}
	type config struct {
		dsn
		Name    string         `json:"name"`
		Tokens  []string       `json:"tokens" gin:"secret"`
		Key     map[string]any `json:"key" gin:"secret"`
		Main    dsn            `json:"main"`
		Replica *dsn           `json:"replica"`
		Others  []dsn          `json:"others"`
		ByName  map[string]dsn `json:"by_name"`
		Free    any            `json:"free"`
		Number  float64        `json:"number"`
	}
	for _, test := range []struct{ in, want string }{
		{``, ``},
		{`{"name":"shop","number":12345678901234567890}`, `{"name":"shop","number":12345678901234567890}`},
		{`{"password":"p","host":"h"}`, `{"host":"h","password":"REDACTED"}`},
		{`{"tokens":["a","b"],"key":{"a":"b"}}`, `{"key":"REDACTED","tokens":"REDACTED"}`},
		{`{"main":{"host":"h","password":"p"},"replica":{"password":"p"}}`, `{"main":{"host":"h","password":"REDACTED"},"replica":{"password":"REDACTED"}}`},
		{`{"others":[{"host":"h","password":"p"}]}`, `{"others":[{"host":"h","password":"REDACTED"}]}`},
		{`{"others":{"host":"h","password":"p"}}`, `{"others":{"host":"h","password":"REDACTED"}}`},
		{`{"by_name":{"a":{"password":"p"}}}`, `{"by_name":{"a":{"password":"REDACTED"}}}`},
		{`{"free":{"password":"p"}}`, `{"free":{"password":"p"}}`}, // the author says so
		{`{"PASSWORD":"p"}`, `{"PASSWORD":"REDACTED"}`},            // encoding/json takes it for password
		{`{"main":null,"name":"{env.NAME}"}`, `{"main":null,"name":"{env.NAME}"}`},
		{`{`, ``},
	} {
		if got := string(mask(json.RawMessage(test.in), reflect.TypeFor[*config]())); got != test.want {
			t.Errorf("%s: got %s, want %s", test.in, got, test.want)
		}
	}
	if got := string(mask(json.RawMessage(`{"a":1}`), nil)); got != `"REDACTED"` {
		t.Errorf("without a type: %s", got)
	}
}
