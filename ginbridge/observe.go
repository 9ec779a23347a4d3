package ginbridge

import (
	"context"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// addPlaceholders makes {http.gin.app}, {http.gin.route} and
// {http.gin.param.NAME} available, also after the request has been served.
// The route is looked up when somebody asks; the app's handlers pay nothing.
func (m *Mount) addPlaceholders(repl *caddy.Replacer, method, path, rawPath string) {
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
		return nil, false
	})
}

// observe tells Caddy's access log and the current span, if there are any,
// which route served the request and what errors it recorded.
func (m *Mount) observe(ctx context.Context, route string, errs []*gin.Error) {
	if span := trace.SpanFromContext(ctx); route != "" && span.IsRecording() {
		span.SetAttributes(attribute.String("http.route", route))
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
