package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// errorsAsked is the error of /panic and /fail.
const errorsAsked = "the request asked for it"

// errorsConfig makes a site of the given directives beside the app. At level
// debug, everything that anybody has to say is in the log.
func errorsConfig(directives string) testcaddy.Config {
	return testcaddy.Config{
		Global: "\tdebug\n",
		Sites:  "http://localhost:$HTTP, https://localhost:$HTTPS {\n\ttls internal\n\tgin hello\n" + directives + "\n}\n",
	}
}

// errorsHandler is a handle_errors that tells all it knows.
const errorsHandler = `
	handle_errors {
		header X-App "{http.gin.app}"
		header X-Route "{http.gin.route}"
		header X-Id "{http.gin.param.id}"
		header X-Error-Id "{err.id}"
		respond "{err.status_code} {err.message} app={http.gin.app} route={http.gin.route} id={http.gin.param.id}"
	}`

func errorsSites(t *testing.T, s *testcaddy.Server) []protocolSite {
	t.Helper()
	var sites []protocolSite
	for _, protocol := range testcaddy.Protocols {
		sites = append(sites, protocolSite{s, protocol, protocolClient(t, protocol), false})
	}
	return sites
}

func TestHandleErrorsRendersPanicsAndFailures(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, errorsConfig(errorsHandler))
	tests := []struct {
		path   string
		status int
		route  string
		text   string
	}{
		{"/panic", 500, "/panic", `the Gin app "hello" panicked`},
		{"/fail?status=418", 418, "/fail", errorsAsked},
		{"/fail?status=503", 503, "/fail", errorsAsked},
		{"/fail?status=404", 404, "/fail", errorsAsked},
	}
	for _, p := range errorsSites(t, s) {
		for _, tt := range tests {
			got := p.get(t, tt.path)
			want := fmt.Sprintf("%d %s app=hello route=%s id=", tt.status, tt.text, tt.route)
			if got.StatusCode != tt.status || got.text != want {
				t.Errorf("%s %s: got %d %q, want %q", p.protocol, tt.path, got.StatusCode, got.text, want)
			}
			if got.Header.Get("X-App") != "hello" || got.Header.Get("X-Route") != tt.route || got.Header.Get("X-Error-Id") == "" {
				t.Errorf("%s %s: got %v", p.protocol, tt.path, got.Header)
			}
		}
		// What Gin answers by itself is no error, nor is what the app answers.
		for path, want := range map[string]string{"/none": "404 page not found", "/fail?status=200": `{"error":`, "/static/none": "no such file"} {
			if got := p.get(t, path); got.StatusCode < 400 || !strings.HasPrefix(got.text, want) || got.Header.Get("X-App") != "" {
				t.Errorf("%s %s: got %d %q", p.protocol, path, got.StatusCode, got.text)
			}
		}
	}
}

func TestErrorsHaveTheirStatusWithoutHandleErrors(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, errorsConfig(""))
	for _, p := range errorsSites(t, s) {
		for path, want := range map[string]int{"/panic": 500, "/fail": 503, "/fail?status=418": 418, "/fail?status=599": 599} {
			if got := p.get(t, path); got.StatusCode != want || got.text != "" {
				t.Errorf("%s %s: got %d %q, want %d", p.protocol, path, got.StatusCode, got.text, want)
			}
		}
	}
}

// TestPanicIsLoggedOnce has panics with and without an error page, and looks
// for every trace of them.
func TestPanicIsLoggedOnce(t *testing.T) {
	t.Parallel()
	for name, directives := range map[string]string{
		"handle_errors": errorsHandler,
		"none":          "",
		"access log":    "\tlog\n" + errorsHandler,
		"a timeout":     "", // has the handlers run in a goroutine of their own
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := errorsConfig(directives)
			if name == "a timeout" {
				config.Sites = strings.Replace(config.Sites, "gin hello", "gin hello {\n\t\ttimeout 1m\n\t}", 1)
			}
			s := testcaddy.Start(t, config)
			ids := make(map[string]bool) // as the clients were told them
			for _, p := range errorsSites(t, s) {
				if id := p.get(t, "/panic").Header.Get("X-Error-Id"); id != "" {
					ids[id] = true
				}
			}
			s.Stop() // all of the log is there then

			panics := 0
			for _, e := range s.Log() {
				if e.Logger == "gin.apps.hello" && e.Msg == "handler panicked" {
					panics++
					errorsPanicEntry(t, e, directives != "", ids)
				} else if strings.Contains(e.Raw, errorsAsked) || strings.Contains(e.Raw, "goroutine ") || strings.Contains(e.Msg, "panic serving") {
					t.Errorf("the panic is in the log again: %s", e.Raw)
				}
			}
			if want := len(testcaddy.Protocols); panics != want {
				t.Errorf("%d panics are in the log, want %d", panics, want)
			}
			if directives != "" && len(ids) != len(testcaddy.Protocols) {
				t.Errorf("got the IDs %v", ids)
			}
		})
	}
}

// errorsPanicEntry looks at the entry of a panic. Its ID, known to the client
// of one with an error page, leads from there to the stack.
func errorsPanicEntry(t *testing.T, e testcaddy.Entry, told bool, ids map[string]bool) {
	t.Helper()
	stack, _ := e.Fields["stack"].(string)
	if e.Level != "error" || e.Fields["panic"] != errorsAsked || e.Fields["route"] != "/panic" || e.Fields["method"] != "GET" {
		t.Errorf("got %s", e.Raw)
	}
	if !strings.Contains(stack, "examples/hello.(*server).panic(") || !strings.Contains(stack, "corners.go:") {
		t.Errorf("the app is not in the stack: %s", stack)
	}
	if id, _ := e.Fields["err_id"].(string); id == "" || told && !ids[id] {
		t.Errorf("the ID is %q, but clients were told %v", id, ids)
	}
}

// TestAbortIsNoPanic has the server break connections off as net/http promises
// for http.ErrAbortHandler: without a word.
func TestAbortIsNoPanic(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, errorsConfig("\tlog\n"+errorsHandler))
	for _, p := range errorsSites(t, s) {
		ctx, cancel := context.WithTimeout(t.Context(), protocolPatience)
		defer cancel()
		resp, err := p.client.Do(p.request(ctx, t, http.MethodGet, "/abort", nil))
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if err == nil || ctx.Err() != nil {
			t.Errorf("%s: got the error %v", p.protocol, err)
		}
	}
	s.Stop()
	accesses := 0
	for _, e := range s.Log() {
		switch {
		case strings.HasPrefix(e.Logger, "http.log.access"):
			accesses++
			if route := errorsGinField(e)["route"]; route != "/abort" || e.Fields["status"] != 200.0 {
				t.Errorf("the access is logged as %s", e.Raw)
			}
		case e.Level == "error", strings.Contains(e.Raw, "panic"), strings.Contains(e.Raw, "abort"):
			t.Errorf("the log has %s", e.Raw)
		}
	}
	if want := len(testcaddy.Protocols); accesses != want {
		t.Errorf("%d accesses are in the log, want %d", accesses, want)
	}
}

// errorsGinField returns what an entry of the access log says of the app.
func errorsGinField(e testcaddy.Entry) map[string]any {
	field, _ := e.Fields["gin"].(map[string]any)
	return field
}
