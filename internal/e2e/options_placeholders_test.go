package e2e

import (
	"net/http"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// The header directive's deferred operations and the log run after the app,
// handle_errors runs instead of its answer.
func TestPlaceholdersTellTheRoute(t *testing.T) {
	t.Parallel()
	for name, mount := range map[string]struct{ prefix, options string }{
		"plain":     {"", ""},
		"timeout":   {"", "timeout 4m"},
		"base_path": {"/app", "base_path /app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, optSite(`
	log
	log_append gin_app {http.gin.app}
	log_append gin_route {http.gin.route}
	log_append gin_id {http.gin.param.id}
	header >X-Gin "{http.gin.app}|{http.gin.route}|{http.gin.param.id}|{http.gin.param.none}"
	handle_errors {
		header X-Error-Gin "{http.gin.app}|{http.gin.route}"
		respond "error"
	}
	gin hello {
		`+mount.options+`
	}`))
			for _, test := range []struct{ target, header, app, route, id string }{
				{"/users/7", "hello|/users/:id|7|", "hello", "/users/:id", "7"},
				{"/users/a%20b?x=y", "hello|/users/:id|a b|", "hello", "/users/:id", "a b"},
				{"/ping", "hello|/ping||", "hello", "/ping", ""},
				{"/nothing", "hello|||", "hello", "", ""},
			} {
				got := optGet(t, s, mount.prefix+test.target)
				if got.header.Get("X-Gin") != test.header {
					t.Errorf("%s: got %q, want %q", test.target, got.header.Get("X-Gin"), test.header)
				}
				uri := mount.prefix + test.target
				var entry testcaddy.Entry
				if !s.WaitLog(func(e testcaddy.Entry) bool {
					request, _ := e.Fields["request"].(map[string]any)
					entry = e
					return e.Msg == "handled request" && request["uri"] == uri
				}) {
					t.Fatalf("%s is not in the log", uri)
				}
				for field, want := range map[string]string{"gin_app": test.app, "gin_route": test.route, "gin_id": test.id} {
					if got, _ := entry.Fields[field].(string); got != want {
						t.Errorf("%s: the log's %s is %q, want %q", test.target, field, got, want)
					}
				}
			}
			got := optGet(t, s, mount.prefix+"/fail?status=503")
			if got.status != http.StatusServiceUnavailable || got.body != "error" || got.header.Get("X-Error-Gin") != "hello|/fail" {
				t.Errorf("/fail: got %d %q, X-Error-Gin %q", got.status, got.body, got.header.Get("X-Error-Gin"))
			}
		})
	}
}

// A request that the app does not get has none of its placeholders; Caddy
// leaves unknown ones as they are.
func TestPlaceholdersAreUnknownWithoutTheApp(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, optSite("route {\ngin hello {\nfallthrough\n}\nrespond \"next {http.gin.app}|{http.gin.route}\"\n}"))
	if got := optGet(t, s, "/nothing"); got.body != "next {http.gin.app}|{http.gin.route}" {
		t.Errorf("got %q", got.body)
	}
}
