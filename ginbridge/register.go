package ginbridge

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/gin-gonic/gin"
)

// Namespace is the Caddy module namespace of Gin apps: the app registered as
// "shop" is the module gin.apps.shop.
const Namespace = "gin.apps"

// EngineBuilder is what a module in the namespace gin.apps implements.
// [Register] and [RegisterEngine] make such a module from a function; an app
// that wants its own configuration fields, Provision, Validate or
// UnmarshalCaddyfile is written as a module by hand and implements
// EngineBuilder itself:
//
//	func init() { caddy.RegisterModule(new(Shop)) }
//
//	type Shop struct {
//		DSN string `json:"dsn,omitempty"`
//	}
//
//	func (*Shop) CaddyModule() caddy.ModuleInfo {
//		return caddy.ModuleInfo{ID: "gin.apps.shop", New: func() caddy.Module { return new(Shop) }}
//	}
//
//	func (s *Shop) BuildEngine(app *ginbridge.App) (*gin.Engine, error) {
//		r := app.NewEngine()
//		r.GET("/orders/:id", s.order)
//		return r, nil
//	}
//
// BuildEngine is called once for every place where a configuration mounts the
// app, after Provision and Validate, and also by "caddy validate": it must be
// cheap and without side effects. A panic in it becomes an error of the load.
//
// Such a module should release what requests use through [App.OnRelease], not
// in Cleanup: Caddy cleans the modules of a replaced configuration up while
// its last requests are still being served.
type EngineBuilder interface {
	caddy.Module
	BuildEngine(app *App) (*gin.Engine, error)
}

// Register makes a Gin app known to Caddy under a name, for use as
// "gin <name>" in a Caddyfile. Call it from init.
//
// build gets a new engine without middleware and adds routes to it; see
// [EngineBuilder] for when it runs. Panics of handlers are recovered, logged
// and answered by Caddy, so the engine needs neither gin.Logger nor
// gin.Recovery.
//
// Register panics if the name is taken or is not made of lower-case letters,
// digits, "_" and "-", starting with a letter.
func Register(name string, build func(app *App, r *gin.Engine) error) {
	register(name, build == nil, func(app *App) (*gin.Engine, error) {
		r := app.NewEngine()
		return r, build(app, r)
	})
}

// RegisterEngine is like [Register] for an app whose engine is built by code
// that knows nothing of Caddy. The engine is served unchanged but for one
// field: TrustedPlatform, if the app left it empty, so that Context.ClientIP
// answers with Caddy's client IP.
//
// build should return a new engine each time. It may return the same one:
// that engine then serves several configurations at once during a reload, and
// a directive that would change its settings is refused.
func RegisterEngine(name string, build func() (*gin.Engine, error)) {
	register(name, build == nil, func(*App) (*gin.Engine, error) { return build() })
}

// nameSyntax is Caddy's convention for module names, and "-".
var nameSyntax = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// ValidName tells whether an app may have a name: it must be made of lower-case
// letters, digits, "_" and "-", starting with a letter.
func ValidName(name string) bool { return nameSyntax.MatchString(name) }

// registeredAt maps the name of a registered app to the place that registered
// it. Guarded by registeredMu; written at init only, as a rule.
var (
	registeredMu sync.Mutex
	registeredAt = make(map[string]string)
)

func register(name string, noBuild bool, build func(*App) (*gin.Engine, error)) {
	here := "an unknown place"
	if _, file, line, ok := runtime.Caller(2); ok {
		here = fmt.Sprintf("%s:%d", filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), line)
	}
	if !ValidName(name) {
		panic(fmt.Sprintf("ginbridge: invalid app name %q at %s: use lower-case letters, digits, '_' and '-', starting with a letter", name, here))
	}
	if noBuild {
		panic(fmt.Sprintf("ginbridge: app %q registered at %s has no build function", name, here))
	}
	registeredMu.Lock()
	defer registeredMu.Unlock()
	if there, taken := registeredAt[name]; taken {
		panic(fmt.Sprintf("ginbridge: app %q is registered twice: at %s and at %s", name, there, here))
	}
	registeredAt[name] = here
	caddy.RegisterModule(registered{name: name, build: build})
}

// registered is the module that a call of Register or RegisterEngine makes.
type registered struct {
	// The app's own configuration, decoded by App.Config into a type of the
	// app's choice. Default: none.
	ConfigRaw json.RawMessage `json:"config,omitempty"`

	name  string
	build func(*App) (*gin.Engine, error)
}

// CaddyModule returns the Caddy module information.
func (m registered) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  caddy.ModuleID(Namespace + "." + m.name),
		New: func() caddy.Module { return &registered{name: m.name, build: m.build} },
	}
}

// BuildEngine implements [EngineBuilder].
func (m *registered) BuildEngine(app *App) (*gin.Engine, error) {
	app.config = m.ConfigRaw
	return m.build(app)
}

// Names returns the names of all apps that can be mounted, sorted.
func Names() []string {
	infos := caddy.GetModules(Namespace)
	names := make([]string, 0, len(infos))
	for _, info := range infos {
		names = append(names, info.ID.Name())
	}
	slices.Sort(names)
	return names
}

// CheckName returns an error that names the registered apps if there is none
// of the given name.
func CheckName(name string) error {
	names := Names()
	if slices.Contains(names, name) {
		return nil
	}
	if len(names) == 0 {
		return fmt.Errorf("unknown Gin app %q: no app is built into this Caddy (see ginbridge.Register)", name)
	}
	return fmt.Errorf("unknown Gin app %q; the registered apps are: %s", name, strings.Join(names, ", "))
}

// Interface guards
var (
	_ caddy.Module  = registered{}
	_ EngineBuilder = (*registered)(nil)
)
