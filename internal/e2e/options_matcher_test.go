package e2e

import (
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestGinRouteMatchesWhatTheAppHandles(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		directives string
		app, other []string // targets
	}{
		"plain": {
			"@api gin_route opt-routes\nroute {\ngin @api opt-routes\nrespond other\n}",
			[]string{"/ping", "/users/7", "/files/a/b", "/v1/items:batch"},
			[]string{"/", "/pings", "/users/7/8", "/v1/items:x", "/form"},
		},
		"reverse order": { // the matcher stands before the handler that it needs
			"@other not gin_route opt-routes\nroute {\nrespond @other other\ngin opt-routes\n}",
			[]string{"/ping", "/users/7"}, []string{"/", "/nothing"},
		},
		"base_path": {
			"@api gin_route opt-routes\nroute {\ngin @api opt-routes {\nbase_path /api\n}\nrespond other\n}",
			[]string{"/api/ping", "/api/users/7"}, []string{"/ping", "/api", "/api/pings", "/apiping"},
		},
		"two mounts": {
			"@api gin_route opt-routes\nroute {\nhandle @api {\ngin /a/* opt-routes {\nbase_path /a\n}\ngin opt-routes {\nbase_path /b\n}\n}\nrespond other\n}",
			[]string{"/a/ping", "/b/ping"}, []string{"/ping", "/c/ping"},
		},
		"two apps": {
			"@api gin_route opt-template opt-routes\nroute {\ngin @api opt-routes {\nfallthrough\n}\ngin @api opt-template\nrespond other\n}",
			[]string{"/ping", "/page"}, []string{"/pages"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, optSite(test.directives))
			for _, target := range test.other {
				if got := optGet(t, s, target); got.body != "other" {
					t.Errorf("%s: got %d %q, want the other handler", target, got.status, got.body)
				}
			}
			for _, target := range test.app {
				if got := optGet(t, s, target); got.body == "other" || got.status == 404 {
					t.Errorf("%s: got %d %q, want the app", target, got.status, got.body)
				}
			}
		})
	}
}

// The redirects of the app are its answers, too, and the matcher leaves no
// trace in the app.
func TestGinRouteMatchesRedirectsAndRunsNoMiddleware(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, optSite("@api gin_route opt-routes\nroute {\ngin @api opt-routes\nrespond other\n}"))
	optCase{target: "/ping/", status: 301, location: "/ping"}.check(t, s)
	before := ranMiddleware(t, s)
	for range 3 {
		if got := optGet(t, s, "/nothing"); got.body != "other" || got.header.Get("X-Opt-Middleware") != "" {
			t.Errorf("got %d %q", got.status, got.body)
		}
	}
	if after := ranMiddleware(t, s); after != before+1 {
		t.Errorf("the middleware ran %d times", after-before-1)
	}
}

func TestGinRouteOfAnAppServedNowhereIsRefused(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, optSite("gin hello"))
	err := s.Reload(optSite("@api gin_route opt-routes\nrespond @api api\ngin hello"))
	if err == nil || !strings.Contains(err.Error(), `gin_route: the Gin app "opt-routes" is not served by any gin handler of this configuration`) {
		t.Errorf("got the error %v", err)
	}
	if got := optGet(t, s, "/ping"); got.status != 200 {
		t.Errorf("the old configuration answers %d", got.status)
	}
	// a handler of another site will do
	if err := s.Reload(testcaddy.Config{Sites: "http://localhost:$HTTP {\n@api gin_route opt-routes\nrespond @api api\n}\n" +
		"http://127.0.0.1:$HTTP {\ngin opt-routes\n}"}.Strict()); err != nil {
		t.Fatal(err)
	}
	if got := optGet(t, s, "/ping"); got.body != "api" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

// All matchers of Caddy's own can be used in expressions.
func TestGinRouteInExpressions(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, optSite("gin hello"))
	if err := s.Reload(optSite("@api expression `gin_route('opt-routes') && method('GET')`\nroute {\ngin @api opt-routes\nrespond other\n}")); err != nil {
		t.Fatal(err)
	}
	if got := optDo(t, s, "POST", "/form"); got.body != "other" {
		t.Errorf("POST /form: got %d %q", got.status, got.body)
	}
	optCase{target: "/ping", status: 200, route: "/ping"}.check(t, s)
}
