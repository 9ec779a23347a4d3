package orders

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap/zaptest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// openStore opens the database of a folder.
func openStore(t *testing.T, dir string) *store {
	t.Helper()
	s, err := newStore(filepath.Join(dir, "orders.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// app is the app without Caddy.
type app struct {
	*server
	t   *testing.T
	url string
}

func serve(t *testing.T) *app {
	t.Helper()
	s := &server{store: openStore(t, t.TempDir()), cache: newCache(maxCached)}
	r := gin.New()
	s.routes(r)
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	return &app{server: s, t: t, url: srv.URL}
}

func (a *app) worker() *worker {
	return &worker{store: a.store, cache: a.cache, interval: minShipInterval, log: zaptest.NewLogger(a.t)}
}

// do sends a request and decodes the answer, if there is a body, into v.
func (a *app) do(method, path, key, body string, v any) (int, http.Header) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Error(err)
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Error(err)
	}
	if v != nil && len(text) > 0 {
		if err := json.Unmarshal(text, v); err != nil {
			a.t.Errorf("%s %s: %v in %q", method, path, err, text)
		}
	}
	return res.StatusCode, res.Header
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name string
		cfg  Config
		want string // part of the error; none if empty
	}{
		{"good", Config{filepath.Join(dir, "orders.db"), time.Second}, ""},
		{"no database", Config{"", time.Second}, "database is not set"},
		{"no folder", Config{filepath.Join(dir, "none", "orders.db"), time.Second}, "none"},
		{"too often", Config{filepath.Join(dir, "orders.db"), time.Millisecond}, "ship_interval is 1ms"},
		{"too seldom", Config{filepath.Join(dir, "orders.db"), 2 * time.Hour}, "ship_interval is 2h"},
	}
	for _, tt := range tests {
		err := tt.cfg.check()
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// However the file is called, all configurations must share one cache.
func TestSpellingsOfOneDatabase(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Skip(err)
	}
	t.Chdir(dir)
	var first string
	for _, path := range []string{"orders.db", "./x/../orders.db", filepath.Join(dir, "orders.db"), filepath.Join(link, "orders.db")} {
		cfg := Config{path, time.Second}
		if err := cfg.check(); err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = cfg.Database
		}
		if cfg.Database != first {
			t.Errorf("%s is %s, want %s", path, cfg.Database, first)
		}
	}
}
