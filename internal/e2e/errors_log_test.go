package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// TestNothingIsPrintedOutsideTheLog goes through all that Gin prints about:
// its mode, its routes and its warnings while engines are built, and panics
// and errors while they serve.
func TestNothingIsPrintedOutsideTheLog(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"", "release", "debug", "test"} {
		t.Run("mode "+mode, func(t *testing.T) {
			t.Parallel()
			config := errorsConfig(errorsHandler)
			if mode != "" {
				config.Global += "\tgin {\n\t\tmode " + mode + "\n\t}\n"
			}
			s := testcaddy.Start(t, config)
			for _, p := range errorsSites(t, s) {
				for _, path := range []string{"/ping", "/panic", "/fail", "/hijack", "/none", "/page", "/ws", "/hints"} {
					resp, err := p.client.Get(p.URL(p.protocol, path))
					if err == nil {
						_ = resp.Body.Close()
					}
				}
			}
			if err := s.Reload(config); err != nil {
				t.Fatal(err)
			}
			s.Stop()
			errorsOnlyLog(t, s)

			routes := make(map[string]bool)
			for _, e := range s.Log() {
				if e.Logger == "gin" && e.Msg == "route" {
					routes[fmt.Sprint(e.Fields["method"], e.Fields["path"])] = true
					if handler := fmt.Sprint(e.Fields["handler"]); !strings.Contains(handler, "examples/hello.") {
						t.Errorf("a route of somebody else's: %s", e.Raw)
					}
				} else if e.Logger == "gin" && mode != "debug" && e.Msg != "serving" && e.Msg != "reloaded" {
					t.Errorf("Gin prints %s", e.Raw)
				}
			}
			if mode != "debug" && len(routes) > 0 {
				t.Errorf("Gin lists %v", routes)
			}
			for _, want := range []string{"GET/ping", "GET/users/:id", "POST/echo", "HEAD/static/*filepath"} {
				if mode == "debug" && !routes[want] {
					t.Errorf("Gin does not list %s: %v", want, routes)
				}
			}
		})
	}
}

// errorsOnlyLog wants each line that the server printed to be of the log.
func errorsOnlyLog(t *testing.T, s *testcaddy.Server) {
	t.Helper()
	for line := range strings.Lines(s.RawLog()) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" {
			t.Errorf("printed, not logged: %q", line)
		}
		if strings.Contains(line, "json: unsupported type") {
			t.Errorf("a value that the log cannot show: %q", line)
		}
		if strings.Contains(line, "[GIN") || strings.Contains(line, "[WARNING]") || strings.Contains(line, `\u001b`) {
			t.Errorf("a print of Gin's: %q", line)
		}
	}
}

func TestAccessLogHasAppRouteAndErrors(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, errorsConfig(`
	log
	log_append my_app {http.gin.app}
	log_append my_route {http.gin.route}
	log_append my_id {http.gin.param.id}`))
	tests := []struct {
		path, route, id string
		errors          any
	}{
		{"/ping", "/ping", "", nil},
		{"/users/secret-42", "/users/:id", "secret-42", nil},
		{"/static/hello.txt", "/static/*filepath", "", nil},
		{"/none/such", "", "", nil},
		{"/fail?status=503", "/fail", "", []any{errorsAsked}},
		{"/fail?status=418", "/fail", "", []any{errorsAsked}},
		{"/panic", "/panic", "", nil}, // has an entry of its own
	}
	sites := errorsSites(t, s)
	for _, p := range sites {
		for _, tt := range tests {
			p.get(t, tt.path)
		}
	}
	s.Stop()
	found := 0
	for _, e := range s.Log() {
		if !strings.HasPrefix(e.Logger, "http.log.access") {
			continue
		}
		request, _ := e.Fields["request"].(map[string]any)
		for _, tt := range tests {
			if request["uri"] != tt.path {
				continue
			}
			found++
			gin := errorsGinField(e)
			if gin["app"] != "hello" || gin["route"] != tt.route || fmt.Sprint(gin["errors"]) != fmt.Sprint(tt.errors) {
				t.Errorf("%s: the field is %v", tt.path, gin)
			}
			if e.Fields["my_app"] != "hello" || e.Fields["my_route"] != tt.route || e.Fields["my_id"] != tt.id {
				t.Errorf("%s: log_append says %v %v %v", tt.path, e.Fields["my_app"], e.Fields["my_route"], e.Fields["my_id"])
			}
		}
	}
	if want := len(tests) * len(sites); found != want {
		t.Errorf("%d accesses are in the log, want %d", found, want)
	}
}

// TestPlaceholdersInErrorRoutes has a route with a parameter answer, and Caddy
// make an error of that: the placeholders are those of the app that served.
func TestPlaceholdersInErrorRoutes(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, errorsConfig(`
	intercept {
		@ok status 200
		handle_response @ok {
			error "no such user" 404
		}
	}`+errorsHandler))
	for _, p := range errorsSites(t, s) {
		for _, id := range []string{"42", "a b", "ü"} {
			got := p.get(t, "/users/"+url.PathEscape(id))
			want := "404 no such user app=hello route=/users/:id id=" + id
			if got.StatusCode != http.StatusNotFound || got.text != want {
				t.Errorf("%s: got %d %q, want %q", p.protocol, got.StatusCode, got.text, want)
			}
			if got.Header.Get("X-App") != "hello" || got.Header.Get("X-Route") != "/users/:id" || got.Header.Get("X-Id") != id {
				t.Errorf("%s: got %v", p.protocol, got.Header)
			}
		}
	}
}
