package caddygin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler serves a Gin app that is built into this Caddy.
//
// The app answers every request, with its own 404 where no route matches,
// unless `fallthrough` is set. What the app or a panic in it hands over as an
// error is answered by the server's error routes.
//
// These placeholders are available from then on, also in error routes and
// after the request:
//
// Placeholder | Description
// ------------|---------------
// `{http.gin.app}` | The name of the app
// `{http.gin.route}` | The pattern of the matching route, such as `/users/:id`; empty if there is none
// `{http.gin.param.NAME}` | The value of the route's parameter NAME
// `{http.gin.peer.uid}` | The user, by number, of the process that connected to a Unix socket; empty for other connections
// `{http.gin.peer.gid}` | Its group, likewise
// `{http.gin.peer.pid}` | Its process number; also empty where the kernel does not tell
//
// With access logs on, entries have a field `gin` with the app, the route and
// the errors that its handlers recorded.
type Handler struct {
	// The app to serve: its module name (in the namespace `gin.apps`) under
	// the key `name`, and its configuration, for most apps under the key
	// `config`. Required.
	AppRaw json.RawMessage `json:"app,omitempty" caddy:"namespace=gin.apps inline_key=name"`

	// Whether to pass requests that none of the app's routes would handle to
	// the next handler. They are found without running any handler or
	// middleware of the app. A redirect that Gin would answer with counts as
	// handled, and so does a 405 if `handle_method_not_allowed` is on; an app
	// with a NoRoute handler keeps them all. Default: false.
	Fallthrough bool `json:"fallthrough,omitempty"`

	// A path prefix to strip before the app sees the request; the redirects
	// that Gin makes have it again. Requests outside it are answered with 404,
	// or passed on with `fallthrough`. Default: none.
	BasePath string `json:"base_path,omitempty"`

	// How long the app may take until it begins to answer. After that the
	// context of the request is cancelled and the answer is 503, whether the
	// handler returns or not. An answer that is flushed, or a connection that
	// is hijacked, is a stream, which has no deadline. Default: none.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How long the app's streams may go on after their configuration has been
	// replaced. They end one by one, at equal intervals within this time, so
	// that clients do not come back all at once. Streams are hijacked
	// connections, which are closed, and event streams and WebSockets over
	// HTTP/2, whose request context is cancelled; an answer whose handler has
	// not returned a quarter of the delay later (five seconds at most) is cut.
	// Other answers, such as a slow download, are left alone. Default: none,
	// streams go on for as long as they like.
	StreamCloseDelay caddy.Duration `json:"stream_close_delay,omitempty"`

	// How many bytes of a multipart form to keep in memory; the rest goes to
	// temporary files. Default: as the app has it; Gin's is 32 MiB.
	MaxMultipartMemory *int64 `json:"max_multipart_memory,omitempty"`

	// Whether to redirect to the path with (without) a trailing slash if only
	// that has a route. Default: as the app has it; Gin's is true.
	RedirectTrailingSlash *bool `json:"redirect_trailing_slash,omitempty"`

	// Whether to redirect to the route that matches when superfluous elements
	// of the path are removed and case is ignored. Default: as the app has
	// it; Gin's is false.
	RedirectFixedPath *bool `json:"redirect_fixed_path,omitempty"`

	// Whether to answer 405 with an Allow header where only another method has
	// a route. Default: as the app has it; Gin's is false.
	HandleMethodNotAllowed *bool `json:"handle_method_not_allowed,omitempty"`

	// Whether to match routes against the escaped path. Default: as the app
	// has it; Gin's is false.
	UseRawPath *bool `json:"use_raw_path,omitempty"`

	// Whether to unescape parameters of a route matched against the escaped
	// path. Default: as the app has it; Gin's is true.
	UnescapePathValues *bool `json:"unescape_path_values,omitempty"`

	// Whether to ignore extra slashes in the path. Default: as the app has it;
	// Gin's is false.
	RemoveExtraSlash *bool `json:"remove_extra_slash,omitempty"`

	// Whether a gin.Context, used as a context.Context, is cancelled with its
	// request and has its values. Default: true; for an engine built by code
	// that knows nothing of Caddy (RegisterEngine), as that code has it.
	ContextWithFallback *bool `json:"context_with_fallback,omitempty"`

	// HTML templates to load into the app's engine. Default: none.
	Templates *Templates `json:"templates,omitempty"`

	mount *ginbridge.Mount
	name  string // of the app and the server
	raw   []byte // the handler as it was configured
}

// Templates says which HTML templates to load.
type Templates struct {
	// The pattern of the template files, as in path/filepath.Match. Required.
	Glob string `json:"glob,omitempty"`

	// The left and the right delimiter. Default: `{{` and `}}`.
	Delims []string `json:"delims,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.gin",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision loads the app and builds its engine.
func (h *Handler) Provision(ctx caddy.Context) error {
	opts, err := h.options()
	if err != nil {
		return err
	}
	app, err := loadApp(ctx)
	if err != nil {
		return err
	}
	if err := app.checkAddresses(ctx); err != nil {
		return err
	}
	watchPeers(ctx)
	var module struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(h.AppRaw, &module); err != nil {
		return fmt.Errorf("app: want an object with the key \"name\": %w", err)
	}
	if err := ginbridge.CheckName(module.Name); err != nil {
		return err
	}
	if h.raw, err = json.Marshal(h); err != nil { // before Caddy forgets AppRaw
		return err
	}
	h.name = module.Name
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.Name() != "" {
		h.name += "@" + server.Name()
	}
	val, err := ctx.LoadModule(h, "AppRaw")
	if err != nil {
		return fmt.Errorf("loading Gin app: %w", err)
	}
	builder, ok := val.(ginbridge.EngineBuilder)
	if !ok {
		return fmt.Errorf("module gin.apps.%s is not a Gin app: %T does not implement ginbridge.EngineBuilder", module.Name, val)
	}
	h.mount, err = app.generation.Mount(ctx, module.Name, builder, opts)
	if err != nil {
		return err
	}
	app.handlers = append(app.handlers, h)
	if h.Fallthrough && h.mount.HasNoRoute() {
		ctx.Logger(app).Warn("fallthrough has no effect: the app has a NoRoute handler", zap.String("app", module.Name))
		h.Fallthrough = false
	}
	return nil
}

// options checks the fields and converts them.
func (h *Handler) options() (ginbridge.Options, error) {
	opts := ginbridge.Options{
		BasePath:               strings.TrimSuffix(caddy.NewReplacer().ReplaceKnown(h.BasePath, ""), "/"),
		Timeout:                time.Duration(h.Timeout),
		StreamCloseDelay:       time.Duration(h.StreamCloseDelay),
		MaxMultipartMemory:     h.MaxMultipartMemory,
		RedirectTrailingSlash:  h.RedirectTrailingSlash,
		RedirectFixedPath:      h.RedirectFixedPath,
		HandleMethodNotAllowed: h.HandleMethodNotAllowed,
		UseRawPath:             h.UseRawPath,
		UnescapePathValues:     h.UnescapePathValues,
		RemoveExtraSlash:       h.RemoveExtraSlash,
		ContextWithFallback:    h.ContextWithFallback,
		Placeholder:            peerPlaceholder,
	}
	if len(h.AppRaw) == 0 {
		return opts, errors.New("app: the Gin app to serve is missing")
	}
	if opts.BasePath != "" && opts.BasePath != path.Clean("/"+opts.BasePath) {
		return opts, fmt.Errorf("base_path: %q is not a clean path that starts with a slash, such as /shop", h.BasePath)
	}
	if opts.Timeout < 0 {
		return opts, fmt.Errorf("timeout: %s is negative", opts.Timeout)
	}
	if opts.StreamCloseDelay < 0 {
		return opts, fmt.Errorf("stream_close_delay: %s is negative", opts.StreamCloseDelay)
	}
	if n := h.MaxMultipartMemory; n != nil && *n < 0 {
		return opts, fmt.Errorf("max_multipart_memory: %d is negative", *n)
	}
	if t := h.Templates; t != nil {
		if t.Glob == "" {
			return opts, errors.New("templates: the pattern of the files is missing")
		}
		opts.Templates = &ginbridge.Templates{Glob: caddy.NewReplacer().ReplaceKnown(t.Glob, "")}
		switch len(t.Delims) {
		case 0:
		case 2:
			opts.Templates.Left, opts.Templates.Right = t.Delims[0], t.Delims[1]
		default:
			return opts, fmt.Errorf("templates: delims wants a left and a right delimiter, not %d values", len(t.Delims))
		}
	}
	return opts, nil
}

// ServeHTTP has the app answer the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if h.Fallthrough && !h.mount.Handles(r) {
		return next.ServeHTTP(w, r)
	}
	return h.mount.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Module                = (*Handler)(nil)
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
