package ginbridge

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/render"
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

	// StreamCloseDelay is within which time after Drain the streams of the app
	// end: hijacked connections are closed, and the request contexts of event
	// streams and of CONNECT are cancelled, at equal intervals. An answer whose
	// handler goes on for another quarter of the delay (five seconds at most) is
	// cut. 0 is never.
	StreamCloseDelay time.Duration

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

	// Placeholder returns the value of a placeholder {http.gin.NAME} that the
	// bridge does not know, and whether it is one. ctx is the request's. It is
	// called when somebody asks for such a placeholder, by several requests at
	// once, also after the request. Nil is none.
	Placeholder func(ctx context.Context, name string) (value any, ok bool)
}

// Templates says which HTML templates to load.
type Templates struct {
	Glob        string
	Left, Right string // delimiters; empty for Gin's
}

// mountedEngine is an engine while any generation uses it.
type mountedEngine struct {
	users     int
	routes    gin.RoutesInfo // as the app declared them
	flags     []any          // values of the flags as the app had them
	render    render.HTMLRender
	templates *Templates // that were loaded into it
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
		if changes := used.changes(engine, opts); len(changes) > 0 {
			return nil, fmt.Errorf("the app returns the same engine each time; that one serves a running configuration and cannot take: %s; let its function build a new engine", strings.Join(changes, ", "))
		}
		used.users++
		return used.routes, nil
	}
	used := &mountedEngine{users: 1, render: engine.HTMLRender, templates: opts.Templates}
	for _, f := range opts.flags(engine) {
		used.flags = append(used.flags, f.field.Interface())
	}
	if err := guard(func() error { return opts.apply(engine) }); err != nil {
		used.restore(engine)
		return nil, err
	}
	if engine.TrustedPlatform == "" {
		engine.TrustedPlatform = clientIPHeader
	}
	used.routes = engine.Routes()
	finishRoutes(engine)
	mountedEngines.m[engine] = used
	return used.routes, nil
}

func disownEngine(engine *gin.Engine) {
	mountedEngines.Lock()
	defer mountedEngines.Unlock()
	used := mountedEngines.m[engine]
	if used.users--; used.users == 0 {
		if !caddy.Exiting() { // handlers may have been given up on
			used.restore(engine)
		}
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

// changes names the options by which the engine would have to be set up
// differently.
func (used *mountedEngine) changes(engine *gin.Engine, opts Options) []string {
	var names []string
	for i, f := range opts.flags(engine) {
		want := used.flags[i]
		if !f.want.IsNil() {
			want = f.want.Elem().Interface()
		}
		if want != f.field.Interface() {
			names = append(names, f.name)
		}
	}
	loaded, wanted := used.templates, opts.Templates
	if (loaded == nil) != (wanted == nil) || loaded != nil && *loaded != *wanted {
		names = append(names, "templates")
	}
	return names
}

// restore sets the engine up as the app had it.
func (used *mountedEngine) restore(engine *gin.Engine) {
	for i, f := range (Options{}).flags(engine) {
		if f.field.Interface() != used.flags[i] {
			f.field.Set(reflect.ValueOf(used.flags[i]))
		}
	}
	if used.templates != nil {
		engine.HTMLRender = used.render
		engine.Delims("{{", "}}")
	}
}

// flag pairs an option with the field of the engine that it sets.
type flag struct {
	name  string
	want  reflect.Value // a pointer, nil if the option is not set
	field reflect.Value
}

// flags returns the options that are plain fields of the engine, by their
// names in the Caddyfile.
func (o Options) flags(engine *gin.Engine) []flag {
	pair := func(name string, want, field any) flag {
		return flag{name, reflect.ValueOf(want), reflect.ValueOf(field).Elem()}
	}
	return []flag{
		pair("max_multipart_memory", o.MaxMultipartMemory, &engine.MaxMultipartMemory),
		pair("redirect_trailing_slash", o.RedirectTrailingSlash, &engine.RedirectTrailingSlash),
		pair("redirect_fixed_path", o.RedirectFixedPath, &engine.RedirectFixedPath),
		pair("handle_method_not_allowed", o.HandleMethodNotAllowed, &engine.HandleMethodNotAllowed),
		pair("use_raw_path", o.UseRawPath, &engine.UseRawPath),
		pair("unescape_path_values", o.UnescapePathValues, &engine.UnescapePathValues),
		pair("remove_extra_slash", o.RemoveExtraSlash, &engine.RemoveExtraSlash),
		pair("context_with_fallback", o.ContextWithFallback, &engine.ContextWithFallback),
	}
}

// apply sets the engine up. A template that cannot be parsed panics in Gin.
func (o Options) apply(engine *gin.Engine) error {
	for _, f := range o.flags(engine) {
		if !f.want.IsNil() {
			f.field.Set(f.want.Elem())
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
