package ginbridge

import (
	"context"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gin-gonic/gin"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// addPlaceholders makes {http.gin.app}, {http.gin.route},
// {http.gin.param.NAME} and those of Options.Placeholder available, also after
// the request has been served, when the slot serves another one. again tells that
// the request has been in an app before. The route is looked up when somebody asks,
// so that a request which nobody asks about pays nothing for it.
func (s *slot) addPlaceholders(ctx context.Context, repl *caddy.Replacer, again bool, method, path, rawPath string) {
	if again {
		// another app had the request and failed; its function would be asked
		// before a second one, but after what is set. What it says of
		// Options.Placeholder holds for this app, too
		found := s.mount.router().find(method, path, rawPath)
		repl.Set("http.gin.app", s.mount.app.name)
		repl.Set("http.gin.route", found.route)
		for _, p := range found.params {
			repl.Set("http.gin.param."+p.Key, p.Value)
		}
		return
	}
	m := s.mount
	// what the closure captures is the one allocation of a request
	repl.Map(func(key string) (any, bool) {
		key, ok := strings.CutPrefix(key, "http.gin.")
		if !ok {
			return nil, false
		}
		switch key {
		case "app":
			return m.app.name, true
		case "route":
			return m.router().find(method, path, rawPath).route, true
		}
		if name, ok := strings.CutPrefix(key, "param."); ok {
			return m.router().find(method, path, rawPath).params.ByName(name), true
		}
		if m.opts.Placeholder != nil {
			return m.opts.Placeholder(ctx, key)
		}
		return nil, false
	})
}

// observe tells Caddy's access log and the current span, if there are any,
// which route served the request and what errors it recorded.
func (m *Mount) observe(ctx context.Context, traced bool, route string, errs []*gin.Error) {
	if traced {
		nameSpan(ctx, route)
	}
	if !m.logged {
		return
	}
	if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Set(zap.Object("gin", logEntry{m.app.name, route, errs}))
	}
}

// logEntry is the field "gin" of an access log entry.
type logEntry struct {
	app, route string
	errors     []*gin.Error
}

// MarshalLogObject implements [zapcore.ObjectMarshaler].
func (e logEntry) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	enc.AddString("app", e.app)
	enc.AddString("route", e.route)
	if len(e.errors) == 0 {
		return nil
	}
	return enc.AddArray("errors", zapcore.ArrayMarshalerFunc(func(list zapcore.ArrayEncoder) error {
		for _, err := range e.errors {
			list.AppendString(err.Error())
		}
		return nil
	}))
}
