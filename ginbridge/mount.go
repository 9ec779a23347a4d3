package ginbridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gin-gonic/gin"
	"go.uber.org/zap"
)

// Mount is an app at one place of a configuration: an engine and what it
// takes to serve requests with it. It is safe for concurrent use.
type Mount struct {
	app        *App
	gen        *Generation
	engine     *gin.Engine
	opts       Options
	routes     gin.RoutesInfo
	logged     bool // the server has access logs
	fullDuplex bool // the server enables full duplex by itself

	inFlight atomic.Int64
	counters routeCounters

	// slots has those for writers without and with server push: a Gin
	// context is bound to its writer for good, and Gin looks at the type.
	slots, pushSlots sync.Pool

	// router finds routes without running handlers; made when first needed.
	router func() *router
}

// Mount builds the app's engine and adds it to the generation. name and
// builder are the app's; ctx is the one in which builder was provisioned. An
// error or a panic of the build function is returned.
func (g *Generation) Mount(ctx caddy.Context, name string, builder EngineBuilder, opts Options) (*Mount, error) {
	app := &App{name: name, ctx: ctx, logger: ctx.Logger(builder), gen: g}
	engine, err := build(app, builder)
	if err != nil {
		return nil, fmt.Errorf("building Gin app %q: %w", name, err)
	}
	routes, err := adoptEngine(engine, opts)
	if err != nil {
		return nil, fmt.Errorf("setting up Gin app %q: %w", name, err)
	}
	app.OnRelease(func() error {
		disownEngine(engine)
		return nil
	})
	m := &Mount{app: app, gen: g, engine: engine, opts: opts, routes: routes, counters: newRouteCounters(name, routes)}
	if _, byFunction := builder.(*registered); !byFunction {
		app.shape = reflect.TypeOf(builder)
		_ = guard(func() (err error) {
			app.config, err = json.Marshal(builder) // it has fields of its own
			return err
		})
	}
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		m.logged, m.fullDuplex = server.Logs != nil, server.EnableFullDuplex
		g.watch(server)
		server.RegisterConnContext(withConn)
	}
	m.router = sync.OnceValue(func() *router { return newRouter(engine, routes) })
	m.slots.New = func() any { return newSlot(m, false) }
	m.pushSlots.New = func() any { return newSlot(m, true) }
	g.mu.Lock()
	g.mounts = append(g.mounts, m)
	g.mu.Unlock()
	return m, nil
}

// App returns the name of the mounted app.
func (m *Mount) App() string { return m.app.name }

// Generation returns the generation that the mount is part of.
func (m *Mount) Generation() *Generation { return m.gen }

// Routes returns the routes of the app as it declared them.
func (m *Mount) Routes() gin.RoutesInfo { return m.routes }

// HasNoRoute tells whether the app answers unmatched requests itself.
func (m *Mount) HasNoRoute() bool {
	// Gin keeps this to itself; the length of a field may be read all the same
	noRoute := reflect.ValueOf(m.engine).Elem().FieldByName("noRoute")
	return noRoute.IsValid() && noRoute.Len() > 0
}

func build(app *App, builder EngineBuilder) (engine *gin.Engine, err error) {
	err = guard(func() (err error) {
		engine, err = builder.BuildEngine(app)
		return err
	})
	if err == nil && engine == nil {
		err = errors.New("the build function returned no engine")
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		app.logger.Debug("build function panicked", zap.Any("panic", p.value), zap.ByteString("stack", p.stack))
	}
	return engine, err
}
