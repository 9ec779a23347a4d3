package ginbridgetest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// probe is what a test sees of the app "kit-probe", which it names in the
// configuration.
type probe struct {
	name           string
	opened, closed atomic.Int64  // the shared value
	entered        chan struct{} // gets a value when a request of /hold has come
	proceed        chan struct{} // closed to let these answer

	mu     sync.Mutex
	events []string
	event  chan struct{} // gets a value with each event
}

// probes has the *probe of each name.
var (
	probes sync.Map
)

func newProbe(name string) *probe {
	p := &probe{name: name, entered: make(chan struct{}, 100), proceed: make(chan struct{}), event: make(chan struct{}, 1000)}
	probes.Store(name, p)
	return p
}

func (p *probe) tell(event string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, event)
	p.event <- struct{}{}
}

func (p *probe) told() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.events...)
}

// Close is for the shared value.
func (p *probe) Close() error {
	p.closed.Add(1)
	return nil
}

// config returns a configuration that names the probe.
func (p *probe) config(value string) map[string]any {
	return map[string]any{"probe": p.name, "value": value}
}

func init() { ginbridge.Register("kit-probe", buildProbe) }

func buildProbe(app *ginbridge.App, r *gin.Engine) error {
	var cfg struct {
		Probe string `json:"probe"`
		Value string `json:"value"`
		Stuck bool   `json:"stuck"`
	}
	if err := app.Config(&cfg); err != nil {
		return err
	}
	val, ok := probes.Load(cfg.Probe)
	switch {
	case !ok:
		return errors.New("probe is not that of a test")
	case cfg.Value == "panic":
		panic("value is panic")
	}
	p := val.(*probe)
	if _, err := ginbridge.Shared(app, "probe:"+p.name, func() (*probe, error) {
		p.opened.Add(1)
		return p, nil
	}); err != nil {
		return err
	}
	app.OnRelease(func() error {
		p.tell("release " + cfg.Value)
		return nil
	})
	app.Go(func(ctx context.Context) {
		p.tell("start " + cfg.Value)
		<-ctx.Done()
		if cfg.Stuck {
			<-p.proceed
		}
		p.tell("stop " + cfg.Value)
	})
	app.Logger().Info("built " + cfg.Value)
	r.GET("/value", func(c *gin.Context) { c.String(http.StatusOK, cfg.Value) })
	r.GET("/ip", func(c *gin.Context) { c.String(http.StatusOK, c.ClientIP()) })
	r.GET("/fail", func(c *gin.Context) { ginbridge.Fail(c, http.StatusTeapot, errors.New("no coffee")) })
	r.GET("/panic", func(*gin.Context) { panic("no handler") })
	r.GET("/abort", func(c *gin.Context) {
		c.String(http.StatusOK, "a part")
		c.Writer.Flush()
		panic(http.ErrAbortHandler)
	})
	r.GET("/hold", func(c *gin.Context) {
		p.entered <- struct{}{}
		<-p.proceed
		c.String(http.StatusOK, cfg.Value)
	})
	r.GET("/stream", func(c *gin.Context) {
		n := 0
		c.Stream(func(io.Writer) bool {
			n++
			c.SSEvent("message", cfg.Value)
			return n < 3
		})
	})
	r.GET("/events", func(c *gin.Context) {
		c.SSEvent("message", cfg.Value)
		c.Writer.Flush()
		c.Stream(func(io.Writer) bool {
			select {
			case <-ginbridge.Draining(c):
			case <-c.Request.Context().Done():
			}
			return false
		})
	})
	r.GET("/hijack", func(c *gin.Context) {
		conn, _, err := c.Writer.Hijack()
		if err != nil {
			ginbridge.Fail(c, http.StatusInternalServerError, err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: probe\r\n\r\n")
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	})
	return nil
}
