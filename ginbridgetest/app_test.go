package ginbridgetest_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	caddygin "github.com/caddy-gin/caddy-gin"
	"github.com/caddy-gin/caddy-gin/ginbridgetest"
)

// get has the app answer a request without a connection.
func get(app http.Handler, path string) (int, string, http.Header) {
	w := httptest.NewRecorder()
	app.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String(), w.Header()
}

func TestRequestsWithoutAConnection(t *testing.T) {
	t.Parallel()
	app := ginbridgetest.New(t, "kit-probe", newProbe(t.Name()).config("one"))
	for _, tt := range []struct {
		path, body string
		status     int
	}{
		{"/value", "one", 200},
		{"/ip", "192.0.2.1", 200}, // of httptest.NewRequest
		{"/none", "404 page not found", 404},
		{"/fail", "", 418},
		{"/panic", "", 500},
		{"/stream", strings.Repeat("event:message\ndata:one\n\n", 3), 200},
	} {
		status, body, header := get(app, tt.path)
		if status != tt.status || body != tt.body || header.Get("Server") != "Caddy" {
			t.Errorf("%s: got %d %q from %q, want %d %q", tt.path, status, body, header.Get("Server"), tt.status, tt.body)
		}
	}
	if status, _, _ := get(app, "/hijack"); status != http.StatusInternalServerError {
		t.Errorf("hijacked a recorder: %d", status)
	}
	defer func() {
		if r := recover(); r != http.ErrAbortHandler { //nolint:errorlint // the value itself, as net/http wants it
			t.Errorf("got the panic %v", r)
		}
	}()
	get(app, "/abort")
}

func TestServer(t *testing.T) {
	t.Parallel()
	app := ginbridgetest.New(t, "kit-probe", newProbe(t.Name()).config("one"))
	app.Client().Timeout = time.Minute
	res, err := app.Client().Get(app.Server().URL + "/ip")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "127.0.0.1" {
		t.Errorf("got %q, %v", body, err)
	}
	res, err = app.Client().Get(app.Server().URL + "/abort")
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); err == nil || string(body) != "a part" {
		t.Errorf("got %q, %v of an aborted answer", body, err)
	}
	res, err = app.Client().Get(app.Server().URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	events := bufio.NewReader(res.Body)
	if line, err := events.ReadString('\n'); err != nil || line != "event:message\n" {
		t.Errorf("got %q, %v", line, err)
	}
	app.Drain() // ends the stream
	if _, err := io.Copy(io.Discard, events); err != nil {
		t.Error(err)
	}
	if status, body, _ := get(app, "/value"); status != http.StatusOK || body != "one" {
		t.Errorf("got %d %q while draining", status, body)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	fake, p := newT(), newProbe(t.Name())
	app := ginbridgetest.New(fake, "kit-probe", p.config("one"))
	await(t, "the goroutine", p.event)
	var held sync.WaitGroup
	held.Go(func() {
		if _, body, _ := get(app, "/hold"); body != "one" {
			t.Errorf("got %q from the old configuration", body)
		}
	})
	await(t, "a request", p.entered)
	app.Reload(p.config("two"))
	for range 2 {
		await(t, "the end of the old goroutine and the start of the new", p.event)
	}
	if _, body, _ := get(app, "/value"); body != "two" {
		t.Errorf("got %q from the new configuration", body)
	}
	for value, want := range map[string]string{"panic": "value is panic", "none": "probe is not that of a test"} {
		config := p.config(value)
		if value == "none" {
			config["probe"] = "none"
		}
		if err := app.TryReload(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v, want %q", err, want)
		}
	}
	if _, body, _ := get(app, "/value"); body != "two" {
		t.Errorf("got %q after loads that failed", body)
	}
	if got, want := p.told(), []string{"start one", "stop one", "start two"}; !slices.Equal(got, want) {
		t.Errorf("got the events %q while a request of the old configuration is served, want %q", got, want)
	}
	close(p.proceed)
	held.Wait()
	await(t, "the release of the old configuration", p.event)
	if p.closed.Load() != 0 {
		t.Error("the shared value was closed while the new configuration uses it")
	}
	if errs := fake.end(); len(errs) > 0 {
		t.Errorf("got the errors %q", errs)
	}
	want := []string{"start one", "stop one", "start two", "release one", "stop two", "release two"}
	if got := p.told(); !slices.Equal(got, want) {
		t.Errorf("got the events %q, want %q", got, want)
	}
	if opened, closed := p.opened.Load(), p.closed.Load(); opened != 1 || closed != 1 {
		t.Errorf("the shared value was opened %d and closed %d times", opened, closed)
	}
	if status, _, _ := get(app, "/value"); status != http.StatusServiceUnavailable {
		t.Errorf("got %d after the test", status)
	}
	if err := app.TryReload(p.config("three")); err == nil {
		t.Error("reloaded after the test")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	p := newProbe(t.Name())
	app := ginbridgetest.New(t, "kit-probe", p.config("one"),
		ginbridgetest.WithDirective(caddygin.Handler{BasePath: "/shop", Timeout: caddy.Duration(time.Millisecond)}),
		ginbridgetest.WithServer(func(s *caddyhttp.Server) {
			s.TrustedProxiesRaw = json.RawMessage(`{"source": "static", "ranges": ["192.0.2.0/24"]}`)
			s.Logs = new(caddyhttp.ServerLogConfig)
			s.Errors = &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{{HandlersRaw: []json.RawMessage{
				json.RawMessage(`{"handler": "static_response", "body": "error {http.error.status_code}"}`),
			}}}}
		}))
	if status, _, _ := get(app, "/value"); status != http.StatusNotFound {
		t.Errorf("got %d outside of base_path", status)
	}
	if status, body, _ := get(app, "/shop/hold"); status != 503 || body != "error 503" {
		t.Errorf("got %d %q after the timeout", status, body)
	}
	close(p.proceed)
	app = ginbridgetest.New(t, "kit-probe", newProbe(t.Name()+" proxied").config("one"),
		ginbridgetest.WithServer(func(s *caddyhttp.Server) {
			s.TrustedProxiesRaw = json.RawMessage(`{"source": "static", "ranges": ["192.0.2.0/24"]}`)
		}))
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/ip", nil)
	r.Header.Set("X-Forwarded-For", "198.51.100.7")
	if app.ServeHTTP(w, r); w.Body.String() != "198.51.100.7" {
		t.Errorf("got the client %q", w.Body)
	}
}

// A stream whose client and handler would go on for ever ends some time after
// a reload, and its configuration is released.
func TestStreamCloseDelay(t *testing.T) {
	t.Parallel()
	p := newProbe(t.Name())
	app := ginbridgetest.New(t, "kit-probe", p.config("one"),
		ginbridgetest.WithDirective(caddygin.Handler{StreamCloseDelay: caddy.Duration(time.Second)}))
	app.Client().Timeout = 0 // else it takes no bytes after the header
	res, err := app.Client().Get(app.Server().URL + "/hijack")
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %d and a body of type %T", res.StatusCode, res.Body)
	}
	defer conn.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn)
	}()
	await(t, "the goroutine", p.event)
	select {
	case <-ended:
		t.Fatal("the stream ended without a reload")
	case <-time.After(100 * time.Millisecond):
	}
	app.Reload(p.config("two"))
	await(t, "the end of the stream", ended)
	for !slices.Contains(p.told(), "release one") {
		await(t, "the release of the old configuration", p.event)
	}
	if _, body, _ := get(app, "/value"); body != "two" {
		t.Errorf("got %q from the new configuration", body)
	}
}
