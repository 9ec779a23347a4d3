package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestSeamlessValidation(t *testing.T) {
	t.Parallel()
	const site = "http://localhost:8080 {\n\trespond ok\n}\n"
	caddyfile := func(wrappers string) string {
		return "{\n\tservers {\n\t\tlistener_wrappers {\n" + wrappers + "\n\t\t}\n\t}\n}\n" + site
	}
	json := func(wrappers string) string {
		return `{"apps": {"http": {"servers": {"a": {"listen": [":8080"], "listener_wrappers": [` + wrappers + `]}}}}}`
	}
	for name, tt := range map[string]struct {
		config string
		says   string // nothing if it is valid
	}{
		"alone":              {caddyfile("seamless"), ""},
		"last":               {caddyfile("proxy_protocol\nhttp_redirect\ntls\nseamless"), ""},
		"empty block":        {caddyfile("seamless {\n}"), ""},
		"not last":           {caddyfile("seamless\ntls"), "seamless must be the last one of its server, and tls follows it: it keeps the connections for itself"},
		"first of three":     {caddyfile("seamless\ntls\nhttp_redirect"), "and tls follows it"},
		"twice":              {caddyfile("seamless\nseamless"), "must be the last one of its server, and seamless follows it"},
		"argument":           {caddyfile("seamless 5s"), `seamless takes no argument, not "5s"`},
		"option":             {caddyfile("seamless {\nforever\n}"), `unknown option "forever" of seamless`},
		"JSON":               {json(`{"wrapper": "seamless"}`), ""},
		"JSON, last":         {json(`{"wrapper": "http_redirect"}, {"wrapper": "tls"}, {"wrapper": "seamless"}`), ""},
		"twice HTTP/3":       {caddyfile("seamless {\nh3\n}"), "seamless h3 serves HTTP/3 itself, so the server must not"},
		"JSON, not last":     {json(`{"wrapper": "seamless"}, {"wrapper": "http_redirect"}`), "and http_redirect follows it"},
		"JSON, with a field": {json(`{"wrapper": "seamless", "forever": true}`), `unknown field "forever"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "Caddyfile")
			if strings.HasPrefix(tt.config, `{"`) {
				file = filepath.Join(dir, "caddy.json")
			}
			if err := os.WriteFile(file, []byte(tt.config), 0o600); err != nil {
				t.Fatal(err)
			}
			output, code := testcaddy.Run(t, dir, "validate", "--config", file)
			if tt.says == "" {
				if code != 0 {
					t.Errorf("exit code %d\n%s", code, output)
				}
				return
			}
			if message := onlyError(t, output); code != 1 || !strings.Contains(message, tt.says) {
				t.Errorf("exit code %d, and the message %q does not have %q", code, message, tt.says)
			}
		})
	}
}
