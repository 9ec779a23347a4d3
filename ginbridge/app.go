package ginbridge

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/caddyserver/caddy/v2"
	"github.com/gin-gonic/gin"
	"go.uber.org/zap"
)

// App is one app in one configuration, as its build function sees it. A new
// App is made for every load of a configuration. Its methods are meant for
// the build function; Draining, Logger, Name and Replacer may also be called
// later and from any goroutine.
type App struct {
	name   string
	ctx    caddy.Context
	logger *zap.Logger
	gen    *Generation
	config json.RawMessage
	shape  reflect.Type // of what config is decoded into; nil before
}

// Name returns the name under which the app is registered.
func (a *App) Name() string { return a.name }

// Logger returns the app's logger, gin.apps.<name>, which obeys the log
// configuration of Caddy.
func (a *App) Logger() *zap.Logger { return a.logger }

// Context returns the Caddy context of the configuration, for those who need
// other Caddy apps or the storage. It is cancelled when Caddy cleans the
// configuration up, which may be before its last request has ended.
func (a *App) Context() caddy.Context { return a.ctx }

// Replacer returns a new replacer with Caddy's global placeholders, such as
// {env.HOME} and {file./run/secrets/token}. Placeholders of a request are got
// with [Placeholder] instead.
func (a *App) Replacer() *caddy.Replacer { return caddy.NewReplacer() }

// Draining returns a channel that is closed when the configuration is being
// replaced or the process stops.
func (a *App) Draining() <-chan struct{} { return a.gen.Draining() }

// Go runs f in a goroutine of its own while the configuration is live. f
// starts once the configuration has replaced the one before it and the
// goroutines of that one have returned (or had ten seconds to), and never
// if the configuration fails to load. Its context is cancelled when the
// configuration is replaced or the process stops; f should then return soon.
// What f uses is not released before it has. A panic of f is logged and ends
// f, not the process.
func (a *App) Go(f func(ctx context.Context)) {
	a.gen.addTask(task{run: f, logger: a.logger})
}

// OnRelease has f called when the configuration is no longer used: after its
// last request, its last hijacked connection and its last goroutine. This is
// the place to close what the build function opened. Functions are called in
// the reverse of the order in which they were added; an error is logged. They
// are also called if the configuration fails to load.
func (a *App) OnRelease(f func() error) {
	a.gen.addReleaser(releaser{release: f, logger: a.logger})
}

// Ready adds a check to those that the admin API's /gin/health/ready makes of
// the live configuration: an error of f says that the app cannot serve now, for
// example because its database does not answer. f is called for each request to
// that endpoint, by several goroutines at once, and should return when ctx ends,
// after five seconds. A panic is an error, too.
func (a *App) Ready(f func(ctx context.Context) error) {
	a.gen.addCheck(check{app: a.name, run: f})
}

// NewEngine returns a new engine without middleware, set up as [Register]
// hands it out: Gin's defaults, with ContextWithFallback on, so that a
// *gin.Context given to a database call is cancelled with its request.
func (a *App) NewEngine() *gin.Engine {
	engine := gin.New()
	engine.ContextWithFallback = true
	return engine
}

// Config decodes the app's configuration, the config block of the gin
// directive, into the struct that v points to, by the rules of encoding/json
// and these:
//
//   - an unknown key is an error that names the known ones;
//   - a string is converted where v has a number, a boolean or a
//     time.Duration (in Go's syntax, with "d" for days added);
//   - a single value is accepted where v has a slice;
//   - global placeholders such as {env.HOME} are replaced in strings.
//
// A field with the tag `gin:"secret"` is not shown by the admin API.
//
// Keys that are absent leave the fields of v as they are, so that v may hold
// the defaults.
func (a *App) Config(v any) error {
	a.shape = reflect.TypeOf(v)
	if err := decodeConfig(a.config, v); err != nil {
		return fmt.Errorf("config of app %q: %w", a.name, err)
	}
	return nil
}
