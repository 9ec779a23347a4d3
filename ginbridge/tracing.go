package ginbridge

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// nameSpan tells the current span, that of Caddy's tracing handler, which
// route served the request.
func nameSpan(ctx context.Context, route string) {
	trace.SpanFromContext(ctx).SetAttributes(attribute.String("http.route", route))
}
