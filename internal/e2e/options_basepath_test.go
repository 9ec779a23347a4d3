package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// whoamiAt returns what hello's /whoami says of prefix and route.
func whoamiAt(t *testing.T, s *testcaddy.Server, target string, header ...string) (prefix, route string) {
	t.Helper()
	got := optGet(t, s, target, header...)
	var me struct{ Prefix, Route string }
	if err := json.Unmarshal([]byte(got.body), &me); err != nil || got.status != http.StatusOK {
		t.Fatalf("GET %s: %d %q", target, got.status, got.body)
	}
	return me.Prefix, me.Route
}

func TestBasePathIsStrippedAndKnownToTheApp(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ directives, target, prefix string }{
		"none":                      {"gin hello", "/whoami", ""},
		"base_path":                 {"gin hello {\nbase_path /shop\n}", "/shop/whoami", "/shop"},
		"trailing slash":            {"gin hello {\nbase_path /shop/\n}", "/shop/whoami", "/shop"},
		"only a slash":              {"gin hello {\nbase_path /\n}", "/whoami", ""},
		"two segments":              {"gin hello {\nbase_path /a/b\n}", "/a/b/whoami", "/a/b"},
		"placeholder":               {"gin hello {\nbase_path {env.OPT_BASE}\n}", "/from_env/whoami", "/from_env"},
		"handle_path":               {"handle_path /outer/* {\ngin hello\n}", "/outer/whoami", "/outer"},
		"handle_path and base_path": {"handle_path /outer/* {\ngin hello {\nbase_path /shop\n}\n}", "/outer/shop/whoami", "/outer/shop"},
		"a character to escape":     {"gin hello {\nbase_path /grüß\n}", "/gr%C3%BC%C3%9F/whoami", "/grüß"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := optSite(test.directives)
			config.Env = []string{"OPT_BASE=/from_env"}
			s := testcaddy.Start(t, config)
			prefix, route := whoamiAt(t, s, test.target)
			if prefix != test.prefix || route != "/whoami" {
				t.Errorf("got the prefix %q and the route %q; want %q", prefix, route, test.prefix)
			}
			if prefix, _ := whoamiAt(t, s, test.target, "X-Forwarded-Prefix: /forged"); prefix != test.prefix {
				t.Errorf("with a forged X-Forwarded-Prefix: got the prefix %q", prefix)
			}
		})
	}
}

func TestRequestsOutsideTheBasePathAreNotTheApps(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: `
http://localhost:$HTTP {
	route {
		gin opt-routes {
			base_path /shop
			fallthrough
		}
		respond "next"
	}
}
http://127.0.0.1:$HTTP {
	route {
		gin opt-routes {
			base_path /shop
		}
		respond "next"
	}
	handle_errors {
		respond "{err.status_code} {err.message}"
	}
}`})
	for _, target := range []string{"/", "/ping", "/shopping/ping", "/shop.html", "/SHOP/ping", "/x/shop/ping", "/%2Fshop/ping"} {
		if got := optGet(t, s, target); got.body != "next" || got.header.Get("X-Opt-Middleware") != "" {
			t.Errorf("%s with fallthrough: got %d %q", target, got.status, got.body)
		}
		got := optOnAddress(t, s, target)
		if got.status != http.StatusNotFound || got.body != "404 the request is outside the base path of the Gin app" || got.header.Get("X-Opt-Middleware") != "" {
			t.Errorf("%s without fallthrough: got %d %q", target, got.status, got.body)
		}
	}
	for target, want := range map[string]string{"/shop/ping": "/ping", "/shop/users/1": "/users/:id"} {
		if route := optGet(t, s, target).echo(t).Route; route != want {
			t.Errorf("%s with fallthrough: got the route %q", target, route)
		}
		if route := optOnAddress(t, s, target).echo(t).Route; route != want {
			t.Errorf("%s without fallthrough: got the route %q", target, route)
		}
	}
	if got := optGet(t, s, "/shop/other"); got.body != "next" {
		t.Errorf("/shop/other: got %q", got.body)
	}
}

// optOnAddress asks the site of 127.0.0.1 instead of localhost.
func optOnAddress(t *testing.T, s *testcaddy.Server, target string) optAnswer {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.HTTP(target), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "127.0.0.1"
	resp, err := testcaddy.Client(t, "http").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return optRead(t, resp)
}

// RawPath is stripped, too: an escaped slash is no separator to such an app.
func TestBasePathIsStrippedFromEscapedPaths(t *testing.T) {
	t.Parallel()
	for base, escaped := range map[string]string{"/shop": "/shop", "/grüß": "/gr%C3%BC%C3%9F", "/a b": "/a%20b"} {
		for _, mount := range []string{"base_path", "handle_path"} {
			if mount == "handle_path" && base == "/grüß" {
				continue // Caddy itself does not strip it
			}
			t.Run(mount+" "+base, func(t *testing.T) {
				t.Parallel()
				directives := "gin opt-routes {\nuse_raw_path\nbase_path \"" + base + "\"\n}"
				if mount == "handle_path" {
					directives = "handle_path \"" + base + "/*\" {\ngin opt-routes {\nuse_raw_path\n}\n}"
				}
				s := testcaddy.Start(t, optSite(directives))
				for path, id := range map[string]string{"/users/a%2Fb": "a/b", "/users/a%20b": "a b", "/users/7": "7"} {
					got := optGet(t, s, escaped+path)
					if got.status != http.StatusOK {
						t.Errorf("%s: got %d %q", escaped+path, got.status, got.body)
						continue
					}
					if echo := got.echo(t); echo.Params["id"] != id {
						t.Errorf("%s: got the parameter %q, want %q", escaped+path, echo.Params["id"], id)
					}
				}
			})
		}
	}
}
