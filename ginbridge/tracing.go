package ginbridge

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// unnamedSpan is the name of a span whose tracing handler was given none.
const unnamedSpan = "handler"

// nameSpan tells the current span, that of Caddy's tracing handler, which
// route served the request, "" if none matched. It names the span by method
// and route, as OpenTelemetry's conventions for HTTP say, unless the
// configuration did.
func nameSpan(ctx context.Context, route string) {
	span := trace.SpanFromContext(ctx)
	if route != "" {
		span.SetAttributes(attribute.String("http.route", route))
	}
	// the API has no name to read, but the spans of the SDK that are recorded
	if s, ok := span.(interface{ Name() string }); !ok || s.Name() != unnamedSpan {
		return
	}
	name := spanMethod(originalRequest(ctx))
	if route != "" {
		name += " " + route
	}
	span.SetName(name)
}

// spanMethod returns the method of r, which may be nil, or "HTTP" if it is
// none of those known: a client may make up any other.
func spanMethod(r *http.Request) string {
	if r != nil {
		switch r.Method {
		case http.MethodConnect, http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodOptions,
			http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodTrace:
			return r.Method
		}
	}
	return "HTTP"
}
