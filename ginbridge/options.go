package ginbridge

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Options is what the operator, not the app's author, decides about a mounted
// app. A nil field leaves the engine as its author set it up.
type Options struct {
	// BasePath is the prefix under which the app is mounted, without a
	// trailing slash. It is stripped before the app sees the request.
	BasePath string

	// Timeout is the deadline of the request context, from the moment the
	// handler is called. 0 is none.
	Timeout time.Duration

	// These set the field of the same name of gin.Engine.
	MaxMultipartMemory     *int64
	RedirectTrailingSlash  *bool
	RedirectFixedPath      *bool
	HandleMethodNotAllowed *bool
	UseRawPath             *bool
	UnescapePathValues     *bool
	RemoveExtraSlash       *bool
	ContextWithFallback    *bool

	// Templates are loaded into the engine after it is built.
	Templates *Templates
}

// Templates says which HTML templates to load.
type Templates struct {
	Glob        string
	Left, Right string // delimiters; empty for Gin's
}

// mountedEngine is an engine while any generation uses it.
type mountedEngine struct {
	users  int
	routes gin.RoutesInfo // as the app declared them
}

// mountedEngines knows the engines in use, so that one which an app returns
// more than once is not changed while it serves. Guarded by its mutex.
var mountedEngines = struct {
	sync.Mutex
	m map[*gin.Engine]*mountedEngine
}{m: make(map[*gin.Engine]*mountedEngine)}

// adoptEngine applies the options to an engine and returns its routes. Every
// adopted engine must be given back with disownEngine.
func adoptEngine(engine *gin.Engine, opts Options) (gin.RoutesInfo, error) {
	mountedEngines.Lock()
	defer mountedEngines.Unlock()
	if used, ok := mountedEngines.m[engine]; ok {
		if changes := opts.changes(engine); len(changes) > 0 {
			return nil, fmt.Errorf("the app returns the same engine each time, which serves a running configuration and cannot take: %s; let its function build a new engine", strings.Join(changes, ", "))
		}
		used.users++
		return used.routes, nil
	}
	if err := opts.apply(engine); err != nil {
		return nil, err
	}
	if engine.TrustedPlatform == "" {
		engine.TrustedPlatform = clientIPHeader
	}
	used := &mountedEngine{users: 1, routes: engine.Routes()}
	finishRoutes(engine)
	mountedEngines.m[engine] = used
	return used.routes, nil
}

func disownEngine(engine *gin.Engine) {
	mountedEngines.Lock()
	defer mountedEngines.Unlock()
	used := mountedEngines.m[engine]
	if used.users--; used.users == 0 {
		delete(mountedEngines.m, engine)
	}
}

// finishRoutes makes Gin do now what it does at the first request of
// ServeHTTP and never in HandleContext: turn `\:` in the route trees to ":".
// Without a request Gin gets that far and no further.
func finishRoutes(engine *gin.Engine) {
	defer func() { _ = recover() }()
	engine.ServeHTTP(nil, nil)
}

// flags returns the options that are plain fields of the engine, by their
// names in the Caddyfile.
func (o Options) flags(engine *gin.Engine) []flag {
	return []flag{
		{"max_multipart_memory", o.MaxMultipartMemory, &engine.MaxMultipartMemory},
		{"redirect_trailing_slash", o.RedirectTrailingSlash, &engine.RedirectTrailingSlash},
		{"redirect_fixed_path", o.RedirectFixedPath, &engine.RedirectFixedPath},
		{"handle_method_not_allowed", o.HandleMethodNotAllowed, &engine.HandleMethodNotAllowed},
		{"use_raw_path", o.UseRawPath, &engine.UseRawPath},
		{"unescape_path_values", o.UnescapePathValues, &engine.UnescapePathValues},
		{"remove_extra_slash", o.RemoveExtraSlash, &engine.RemoveExtraSlash},
		{"context_with_fallback", o.ContextWithFallback, &engine.ContextWithFallback},
	}
}

// flag pairs an option with the field it sets; want and field are pointers to
// the same type.
type flag struct {
	name        string
	want, field any
}

func (f flag) set() bool { return !reflect.ValueOf(f.want).IsNil() }

func (f flag) differs() bool {
	return f.set() && reflect.ValueOf(f.want).Elem().Interface() != reflect.ValueOf(f.field).Elem().Interface()
}

// changes names the options that would change the engine.
func (o Options) changes(engine *gin.Engine) []string {
	var names []string
	for _, f := range o.flags(engine) {
		if f.differs() {
			names = append(names, f.name)
		}
	}
	if o.Templates != nil {
		names = append(names, "templates")
	}
	return names
}

// apply sets the engine up. A template that cannot be parsed panics in Gin;
// the caller recovers from that.
func (o Options) apply(engine *gin.Engine) error {
	for _, f := range o.flags(engine) {
		if f.set() {
			reflect.ValueOf(f.field).Elem().Set(reflect.ValueOf(f.want).Elem())
		}
	}
	if t := o.Templates; t != nil {
		if (t.Left == "") != (t.Right == "") {
			return errors.New("templates: delims takes a left and a right delimiter")
		}
		if t.Left != "" {
			engine.Delims(t.Left, t.Right)
		}
		engine.LoadHTMLGlob(t.Glob)
	}
	return nil
}
