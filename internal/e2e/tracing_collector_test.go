package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// tracingSpan is a span and the name of the tracer that began it.
type tracingSpan struct {
	*tracepb.Span
	scope string
}

// attribute returns the text of an attribute.
func (s tracingSpan) attribute(key string) (text string, has bool) {
	for _, pair := range s.Attributes {
		if pair.Key == key {
			return pair.Value.GetStringValue(), true
		}
	}
	return "", false
}

// tracingCollector receives spans by OTLP over HTTP.
type tracingCollector struct {
	t     testing.TB
	url   string
	mu    sync.Mutex
	spans []tracingSpan
}

func newTracingCollector(t testing.TB) *tracingCollector {
	c := &tracingCollector{t: t}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// ServeHTTP implements [http.Handler].
func (c *tracingCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var export collectorpb.ExportTraceServiceRequest
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = proto.Unmarshal(body, &export)
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("the collector got %s %s of type %q: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty ExportTraceServiceResponse
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.spans = append(c.spans, tracingSpan{span, scope.Scope.GetName()})
			}
		}
	}
}

// start starts a Caddy that exports every span to the collector.
func (c *tracingCollector) start(config testcaddy.Config) *testcaddy.Server {
	config.Env = append(config.Env,
		"OTEL_TRACES_EXPORTER=otlp",
		"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+c.url,
		"OTEL_EXPORTER_OTLP_COMPRESSION=none",
		"OTEL_TRACES_SAMPLER=always_on",
		"OTEL_BSP_SCHEDULE_DELAY=50",
	)
	return testcaddy.Start(c.t, config)
}

// await waits for a span.
func (c *tracingCollector) await(what string, match func(tracingSpan) bool) (found tracingSpan) {
	c.t.Helper()
	testcaddy.Eventually(c.t, what+" arrives", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, span := range c.spans {
			if match(span) {
				found = span
				return true
			}
		}
		return false
	})
	return found
}

// awaitCaddy waits for Caddy's span of a request, known by its path.
func (c *tracingCollector) awaitCaddy(path string) tracingSpan {
	c.t.Helper()
	return c.await("Caddy's span of "+path, func(span tracingSpan) bool {
		got, _ := span.attribute("url.path")
		return got == path && span.scope == "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	})
}
