package ginbridgetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gin-gonic/gin"

	caddygin "github.com/caddy-gin/caddy-gin"
	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// caddyMu guards what Caddy keeps for the whole process while it provisions a
// configuration or cleans one up; otherwise it does that once at a time.
var caddyMu sync.Mutex

// configuration is a configuration of Caddy with one server, which serves one
// Gin app. Caddy itself does not run it, as it can run only one.
type configuration struct {
	ctx    caddy.Context
	cancel context.CancelFunc // cleans all modules up
	server http.Handler
	gin    *caddygin.App

	drainOnce sync.Once
}

// provision does what a load does up to the start.
func provision(s settings, config any, log uint64) (*configuration, error) {
	caddyMu.Lock()
	defer caddyMu.Unlock()
	apps, err := s.apps(config)
	if err != nil {
		return nil, err
	}
	cfg := &caddy.Config{Logging: logging(log)}
	root, err := caddy.ProvisionContext(cfg)
	if err != nil {
		return nil, err
	}
	// the apps belong to a context that can be cancelled
	ctx, cancel := caddy.NewContext(root)
	cfg.AppsRaw = apps
	c := &configuration{ctx: ctx, cancel: cancel}
	if err := c.load(); err != nil {
		cancel()
		return nil, err
	}
	return c, nil
}

func (c *configuration) load() error {
	val, err := c.ctx.App("http")
	if err != nil {
		return err
	}
	c.server = val.(*caddyhttp.App).Servers[serverName]
	if val, err = c.ctx.App("gin"); err != nil {
		return err
	}
	c.gin = val.(*caddygin.App)
	return c.gin.Start() // which only checks; the other apps would begin to listen
}

const serverName = "test"

// apps returns the configuration as JSON.
func (s settings) apps(config any) (caddy.ModuleMap, error) {
	app := map[string]any{"name": s.app}
	if config != nil {
		app["config"] = config
	}
	var err error
	if s.directive.AppRaw, err = json.Marshal(app); err != nil {
		return nil, fmt.Errorf("config of app %q: %w", s.app, err)
	}
	server := &caddyhttp.Server{
		AutoHTTPS: &caddyhttp.AutoHTTPSConfig{Disabled: true},
		Routes: caddyhttp.RouteList{{
			HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(s.directive, "handler", "gin", nil)},
		}},
	}
	if s.server != nil {
		s.server(server)
	}
	return caddy.ModuleMap{
		"http": caddyconfig.JSON(&caddyhttp.App{Servers: map[string]*caddyhttp.Server{serverName: server}}, nil),
		"gin":  caddyconfig.JSON(&caddygin.App{Mode: gin.TestMode}, nil),
	}, nil
}

// start makes the configuration the current one, in place of those before it.
func (c *configuration) start(before []*configuration) {
	generations := make([]*ginbridge.Generation, len(before))
	for i, older := range before {
		generations[i] = older.gin.Generation()
	}
	c.gin.Generation().StartAfter(generations...)
}

// drain does what Caddy does before it stops a configuration.
func (c *configuration) drain() {
	c.drainOnce.Do(func() {
		if val, err := c.ctx.App("events"); err == nil {
			val.(*caddyevents.App).Emit(c.ctx, "stopping", nil)
		}
	})
}

// stop does what Caddy does to a configuration that has been replaced. What
// the app holds is released when its last request has ended.
func (c *configuration) stop() {
	c.drain()
	caddyMu.Lock()
	defer caddyMu.Unlock()
	c.cancel()
	c.gin.Generation().Settle() // App.ServeHTTP counts all there is
}

// released tells whether all that the app held has been released.
func (c *configuration) released() bool {
	select {
	case <-c.gin.Generation().Released():
		return true
	default:
		return false
	}
}
