package caddygin

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/upgrade"
)

func init() {
	caddy.RegisterModule(new(App))
}

// modes are the modes of Gin.
var modes = []string{gin.ReleaseMode, gin.DebugMode, gin.TestMode}

// App holds what all Gin apps of a configuration have in common: options for
// the whole process, and the life of the configuration. It need not be
// configured; the first Gin app brings it.
type App struct {
	// Gin's mode: `release`, `debug` or `test`. In debug mode Gin tells about
	// routes and templates; its messages go to Caddy's log. Default: the
	// environment variable GIN_MODE, or else `release`.
	Mode string `json:"mode,omitempty"`

	// Named sets of options for listeners, which an address refers to by
	// `use`, as in `ipv4/eth0?use=edge`. The keys of a set are options as they
	// stand in an address, the values are text, empty for a switch that is on.
	// Placeholders in values are replaced. Default: none.
	Listeners map[string]map[string]string `json:"listeners,omitempty"`

	// How `caddy gin upgrade` replaces the process. Default: the defaults of
	// its fields.
	Upgrade *Upgrade `json:"upgrade,omitempty"`

	handlers   []*Handler // appended to while provisioning only
	summary    *summary   // made by Start
	begun      time.Time
	sets       map[string]listeners.Options
	ctx        caddy.Context
	generation *ginbridge.Generation
	modeBefore string
	replaced   atomic.Bool
	matchers   []*MatchRoute // appended to while provisioning only
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "gin",
		New: func() caddy.Module { return new(App) },
	}
}

// loadApp returns the App of the configuration that ctx belongs to.
func loadApp(ctx caddy.Context) (*App, error) {
	val, err := ctx.App("gin")
	if err != nil {
		return nil, err
	}
	return val.(*App), nil
}

// Provision begins a generation.
func (a *App) Provision(ctx caddy.Context) error {
	if err := upgrade.AdmitApp(); err != nil {
		return err
	}
	a.ctx, a.begun = ctx, time.Now()
	if err := a.Upgrade.check(); err != nil {
		return err
	}
	if err := a.provisionListeners(); err != nil {
		return err
	}
	mode := a.Mode
	if mode == "" {
		if mode = os.Getenv(gin.EnvGinMode); !slices.Contains(modes, mode) {
			mode = gin.ReleaseMode
		}
	}
	if !slices.Contains(modes, mode) {
		return fmt.Errorf("mode: %q is not one of %s", mode, strings.Join(modes, ", "))
	}
	val, err := ctx.App("events")
	if err != nil {
		return err
	}
	events := val.(*caddyevents.App)
	if err := events.On("started", eventHandler{a.started}); err != nil {
		return err
	}
	if err := events.On("stopping", eventHandler{a.stopping}); err != nil {
		return err
	}
	if err := registerMetrics(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	a.generation = ginbridge.NewGeneration(ctx.Logger(a))
	configs.Lock()
	configs.generations[ctx.Done()] = a.generation.ID()
	configs.Unlock()
	// Gin prints about routes while engines are built, so this cannot wait;
	// a configuration that fails gets it undone in Cleanup
	a.modeBefore = gin.Mode()
	gin.SetMode(mode)
	return nil
}

// Start checks what could not be checked before all apps were provisioned.
func (a *App) Start() error {
	for _, m := range a.matchers {
		if err := m.check(); err != nil {
			return err
		}
	}
	a.summary = a.summarise()
	a.generation.SetHash(a.summary.hash())
	return nil
}

// started is called when all apps of the configuration run.
func (a *App) started() {
	go a.report(time.Since(a.begun))
	a.generation.Start(a.live)
}

// live tells whether the configuration is the current one.
func (a *App) live() bool { return currentApp() == a }

// stopping is called before any app of the configuration is stopped. When the
// process exits, streams must know of it then: Caddy's HTTP app may be the
// first to stop, and waits for them.
func (a *App) stopping() {
	a.replaced.Store(true)
	a.generation.Drain()
}

// Stop announces the end of the configuration.
func (a *App) Stop() error {
	a.generation.Drain()
	return nil
}

// Cleanup has what the configuration holds released after its last request.
func (a *App) Cleanup() error {
	if a.generation == nil {
		return nil
	}
	if !a.replaced.Load() { // it failed to load, perhaps after it started
		gin.SetMode(a.modeBefore)
		reloadRefused.Inc()
	}
	var grace time.Duration
	if app := a.httpApp(); app != nil {
		grace = time.Duration(app.GracePeriod)
	}
	configs.Lock()
	delete(configs.generations, a.ctx.Done())
	configs.Unlock()
	a.generation.Retire(caddy.Exiting(), grace)
	return nil
}

// Generation returns what the Gin apps of the configuration have in common,
// their life. It is nil before Provision.
func (a *App) Generation() *ginbridge.Generation { return a.generation }

// Acquire keeps what the configuration holds until Release. It is false if
// that is released already. Listener wrappers that serve the configuration's
// requests over connections of others call it, as Caddy's server does not tell
// of those.
func (a *App) Acquire() bool { return a.generation.Acquire() }

// Release ends what Acquire began.
func (a *App) Release() { a.generation.Release() }

// eventHandler makes a function an event handler. It is a struct because the
// events app logs it as JSON.
type eventHandler struct{ run func() }

// Handle implements [caddyevents.Handler].
func (h eventHandler) Handle(context.Context, caddy.Event) error {
	h.run()
	return nil
}

// Interface guards
var (
	_ caddy.App           = (*App)(nil)
	_ caddy.Provisioner   = (*App)(nil)
	_ caddy.CleanerUpper  = (*App)(nil)
	_ caddyevents.Handler = eventHandler{}
)
