package testapps

import (
	"net/http"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() { ginbridge.Register("tracing", tracingApp) }

// tracingApp begins spans of its own in each way that an app may.
func tracingApp(_ *ginbridge.App, r *gin.Engine) error {
	work := func(c *gin.Context) {
		ctx := c.Request.Context()
		_, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("tracing").Start(ctx, "work")
		defer span.End()
		c.Status(http.StatusNoContent)
	}
	r.GET("/plain/:id", work)
	r.Handle("PROPFIND", "/files/*path", work)

	r.GET("/otelgin/:id", func(c *gin.Context) {
		span := trace.SpanFromContext(c.Request.Context())
		otelgin.Middleware("shop", otelgin.WithTracerProvider(span.TracerProvider()))(c)
	}, work)
	r.GET("/propagated/:id", func(c *gin.Context) {
		span := trace.SpanFromContext(c.Request.Context())
		otelgin.Middleware("shop", otelgin.WithTracerProvider(span.TracerProvider()),
			otelgin.WithPropagators(propagation.TraceContext{}))(c)
	}, work)
	return nil
}
