package ginbridgetest_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/ginbridgetest"
)

func TestAppsThatRefuseToLoad(t *testing.T) {
	t.Parallel()
	p := newProbe(t.Name())
	for _, tt := range []struct {
		app    string
		config any
		want   string
	}{
		{"no-such-app", nil, `unknown Gin app "no-such-app"; the registered apps are: `},
		{"kit-probe", nil, "probe is not that of a test"},
		{"kit-probe", map[string]any{"prob": 1}, `unknown key "prob"; the known keys are: probe, stuck, value`},
		{"kit-probe", p.config("panic"), "value is panic"},
		{"kit-probe", func() {}, "unsupported type: func()"},
	} {
		if _, err := ginbridgetest.TryNew(t, tt.app, tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
		fake := newT()
		func() {
			defer func() {
				if r := recover(); r != fake {
					t.Errorf("got the panic %v", r)
				}
			}()
			ginbridgetest.New(fake, tt.app, tt.config)
		}()
		if errs := fake.end(); len(errs) != 1 || !strings.Contains(errs[0], tt.want) {
			t.Errorf("got the errors %q, want %q", errs, tt.want)
		}
	}
	if opened, closed := p.opened.Load(), p.closed.Load(); opened != closed {
		t.Errorf("opened %d values and closed %d", opened, closed)
	}
}

// impatient runs an app that is stuck at the end of the test in some way.
func impatient(t *testing.T, p *probe, config map[string]any, stick func(app *ginbridgetest.App)) []string {
	t.Helper()
	fake := newT()
	app := ginbridgetest.New(fake, "kit-probe", config, ginbridgetest.WithPatience(50*time.Millisecond))
	await(t, "the goroutine", p.event)
	if stick != nil {
		stick(app)
	}
	return fake.end()
}

func TestWhatIsNotReleasedFailsTheTest(t *testing.T) {
	t.Parallel()
	t.Run("request", func(t *testing.T) {
		t.Parallel()
		p := newProbe(t.Name())
		var held sync.WaitGroup
		errs := impatient(t, p, p.config("one"), func(app *ginbridgetest.App) {
			held.Go(func() { get(app, "/hold") })
			await(t, "a request", p.entered)
		})
		close(p.proceed)
		held.Wait()
		if len(errs) != 1 || !strings.Contains(errs[0], "1 requests, 0 hijacked") {
			t.Errorf("got the errors %q", errs)
		}
	})
	t.Run("request of a server", func(t *testing.T) {
		t.Parallel()
		p := newProbe(t.Name())
		var held sync.WaitGroup
		errs := impatient(t, p, p.config("one"), func(app *ginbridgetest.App) {
			client, url := app.Client(), app.Server().URL
			held.Go(func() {
				if res, err := client.Get(url + "/hold"); err == nil {
					_ = res.Body.Close()
				}
			})
			await(t, "a request", p.entered)
		})
		close(p.proceed)
		held.Wait()
		if len(errs) != 1 || !strings.Contains(errs[0], "1 requests, 0 hijacked") {
			t.Errorf("got the errors %q", errs)
		}
	})
	t.Run("connection", func(t *testing.T) {
		t.Parallel()
		p := newProbe(t.Name())
		var conn net.Conn
		errs := impatient(t, p, p.config("one"), func(app *ginbridgetest.App) {
			var err error
			if conn, err = net.Dial("tcp", app.Server().Listener.Addr().String()); err != nil {
				t.Fatal(err)
			}
			_, _ = fmt.Fprintf(conn, "GET /hijack HTTP/1.1\r\nHost: test\r\n\r\n")
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		})
		_ = conn.Close()
		if len(errs) != 1 || !strings.Contains(errs[0], "1 hijacked connections") {
			t.Errorf("got the errors %q", errs)
		}
	})
	t.Run("goroutine", func(t *testing.T) {
		t.Parallel()
		p := newProbe(t.Name())
		config := p.config("one")
		config["stuck"] = true
		errs := impatient(t, p, config, nil)
		close(p.proceed)
		if len(errs) != 1 || !strings.Contains(errs[0], "App.Go or App.OnRelease has not returned") {
			t.Errorf("got the errors %q", errs)
		}
	})
}

// What an app logs goes to the log of its own test, and nowhere after that.
func TestLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	fake, p := newT(), newProbe(t.Name())
	fake.log = &log
	app := ginbridgetest.New(fake, "kit-probe", p.config("one"))
	get(app, "/panic")
	fake.end()
	for _, want := range []string{"gin.apps.kit-probe\tbuilt one", "http.log.error", "no handler"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not have %q:\n%s", want, log.String())
		}
	}
}

func TestManyAppsInParallel(t *testing.T) {
	t.Parallel()
	var tests sync.WaitGroup
	for i := range 8 {
		tests.Go(func() {
			fake, p := newT(), newProbe(fmt.Sprint(t.Name(), i))
			app := ginbridgetest.New(fake, "kit-probe", p.config("0"))
			var clients sync.WaitGroup
			for range 2 {
				clients.Go(func() {
					for range 50 {
						if status, body, _ := get(app, "/value"); status != http.StatusOK {
							t.Errorf("got %d %q", status, body)
						}
					}
				})
			}
			for n := range 10 {
				value := fmt.Sprint(i, ".", n)
				app.Reload(p.config(value))
				w := httptest.NewRecorder()
				app.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/value", nil))
				if w.Body.String() != value {
					t.Errorf("got %q, want %q", w.Body, value)
				}
			}
			clients.Wait()
			if errs := fake.end(); len(errs) > 0 {
				t.Errorf("got the errors %q", errs)
			}
			if opened, closed := p.opened.Load(), p.closed.Load(); opened != 1 || closed != 1 {
				t.Errorf("the shared value was opened %d and closed %d times", opened, closed)
			}
		})
	}
	tests.Wait()
}
