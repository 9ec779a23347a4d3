package ginbridgetest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is the default of WithPatience.
const patience = 10 * time.Second

// App is a running app. It is safe for concurrent use.
type App struct {
	t        testing.TB
	settings settings
	log      uint64
	current  atomic.Pointer[configuration] // nil after the test

	mu       sync.Mutex // guards the rest, and is held while current changes
	ended    bool
	replaced []*configuration // perhaps not released yet
	server   *httptest.Server // nil until it is needed
}

// New runs the app that is registered under a name until the end of the test.
//
// config is what the config block of the directive would be. It is marshalled
// to JSON: a map with the keys that are to be set, or the app's own struct, all
// of whose fields are then set. With nil there is no config block.
//
// An error of the app's build function fails the test.
func New(t testing.TB, app string, config any, options ...Option) *App {
	t.Helper()
	a, err := TryNew(t, app, config, options...)
	if err != nil {
		t.Fatalf("loading app %q: %v", app, err)
	}
	return a
}

// TryNew is [New] for an app that may refuse its configuration. The error is
// the message that Caddy gives, as text: it wraps nothing.
func TryNew(t testing.TB, app string, config any, options ...Option) (*App, error) {
	t.Helper()
	a := &App{t: t, settings: settings{app: app, patience: patience}}
	for _, option := range options {
		option(&a.settings)
	}
	log, endLog := openLog(t)
	a.log = log
	if err := a.TryReload(config); err != nil {
		endLog()
		return nil, err
	}
	t.Cleanup(func() {
		t.Helper()
		defer endLog()
		a.end()
	})
	return a, nil
}

// ServeHTTP serves a request through the current configuration. As in
// net/http, a panic with [http.ErrAbortHandler] says that the answer ends
// within; [App.Server] breaks the connection then.
//
// r may come from [httptest.NewRequest], and w may be a
// [httptest.ResponseRecorder].
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for {
		c := a.current.Load()
		if c == nil {
			http.Error(w, "the test is over", http.StatusServiceUnavailable)
			return
		}
		if c.gin.Acquire() { // otherwise it has just been replaced
			defer c.gin.Release()
			c.server.ServeHTTP(w, r)
			return
		}
	}
}

// Reload loads the app with another configuration, as a reload does: new
// requests go to it, while the one before drains and is released when its last
// request has ended. The goroutines of the new one start when those of the old
// have returned. An error fails the test.
func (a *App) Reload(config any) {
	a.t.Helper()
	if err := a.TryReload(config); err != nil {
		a.t.Fatalf("reloading app %q: %v", a.settings.app, err)
	}
}

// TryReload is [App.Reload] for a configuration that may be refused. The one
// before stays then.
func (a *App) TryReload(config any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errors.New("the test is over")
	}
	next, err := provision(a.settings, config, a.log)
	if err != nil {
		return err
	}
	a.replaced = slices.DeleteFunc(a.replaced, (*configuration).released)
	old := a.current.Load()
	before := a.replaced
	if old != nil {
		before = append(before, old)
	}
	next.start(before)
	a.current.Store(next)
	if old != nil {
		a.replaced = before
		old.stop()
	}
	return nil
}

// Drain announces the end of the current configuration, as when the process
// is told to stop: the channel of [ginbridge.Draining] is closed and the context
// of App.Go is cancelled. Requests are still served.
func (a *App) Drain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.current.Load(); c != nil {
		c.drain()
	}
}

// Server returns an HTTP server on loopback that serves the app until the end
// of the test, whatever its configuration. All calls return the same one.
func (a *App) Server() *httptest.Server {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server == nil {
		a.server = httptest.NewServer(a)
	}
	return a.server
}

// Client returns an HTTP client for [App.Server], whose URL requests begin
// with.
func (a *App) Client() *http.Client { return a.Server().Client() }

// end releases everything.
func (a *App) end() {
	a.t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if c := a.current.Swap(nil); c != nil {
		c.stop()
		a.replaced = append(a.replaced, c)
	}
	over := time.NewTimer(a.settings.patience)
	defer over.Stop()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if a.server != nil {
			a.server.CloseClientConnections()
			a.server.Close()
		}
	}()
	for _, c := range a.replaced {
		g := c.gin.Generation()
		select {
		case <-g.Released():
		case <-over.C:
			switch info := g.Info(); {
			case info.Requests > 0 || info.Hijacked > 0:
				a.t.Errorf("app %q is still in use %v after the test: %d requests, %d hijacked connections",
					a.settings.app, a.settings.patience, info.Requests, info.Hijacked)
			default:
				a.t.Errorf("app %q: a function given to App.Go or App.OnRelease has not returned %v after the test",
					a.settings.app, a.settings.patience)
			}
			return
		}
	}
	select {
	case <-closed:
	case <-over.C:
		a.t.Errorf("the server of app %q has not closed %v after the test", a.settings.app, a.settings.patience)
	}
}

// Interface guard
var _ http.Handler = (*App)(nil)
