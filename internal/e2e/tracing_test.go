package e2e

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// The span that Caddy's tracing directive begins has the route pattern: the
// path would make each user a span name of their own.
func TestSpansHaveTheRoutePattern(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var spans []tracingSpan
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("the collector got %s %s of type %q: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
		}
		mu.Lock()
		defer mu.Unlock()
		spans = append(spans, tracingSpans(body)...)
	}))
	defer collector.Close()
	config := optSite(`
	tracing {
		span "{http.request.uri.path}"
	}
	handle /timed/* {
		gin opt-timeout {
			base_path /timed
			timeout 300ms
		}
	}
	handle {
		gin hello
	}
	handle_errors {
		respond {err.status_code}
	}`)
	config.Env = []string{
		"OTEL_TRACES_EXPORTER=otlp",
		"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL,
		"OTEL_EXPORTER_OTLP_COMPRESSION=none",
		"OTEL_TRACES_SAMPLER=always_on",
		"OTEL_BSP_SCHEDULE_DELAY=50",
	}
	s := testcaddy.Start(t, config)
	want := map[string]string{
		"/users/7":            "/users/:id",
		"/static/hello.txt":   "/static/*filepath",
		"/fail":               "/fail",
		"/panic":              "/panic",
		"/nothing":            "",
		"/timed/sleep":        "/sleep",
		"/timed/late-write":   "/late-write", // answered by the deadline
		"/timed/sleep/7/none": "",
	}
	for target := range want {
		optGet(t, s, target)
	}
	find := func(name string) *tracingSpan {
		mu.Lock()
		defer mu.Unlock()
		for i := range spans {
			if spans[i].name == name {
				return &spans[i]
			}
		}
		return nil
	}
	for target, route := range want {
		testcaddy.Eventually(t, "the span of "+target+" arrives", func() bool { return find(target) != nil })
		span := find(target)
		got, has := span.attributes["http.route"]
		if got != route || has != (route != "") {
			t.Errorf("%s: http.route is %q, want %q; the attributes are %v", target, got, route, span.attributes)
		}
		if span.attributes["http.request.method"] != "GET" {
			t.Errorf("%s: misread, the attributes are %v", target, span.attributes)
		}
	}
	optDo(t, s, http.MethodPost, "/timed/release")
}

// tracingSpan is what the test looks at of a span.
type tracingSpan struct {
	name       string
	attributes map[string]string
}

// tracingSpans reads an ExportTraceServiceRequest of OTLP. The field numbers
// are those of opentelemetry/proto/trace/v1/trace.proto.
func tracingSpans(request []byte) (spans []tracingSpan) {
	for _, resource := range tracingFields(request, 1) {
		for _, scope := range tracingFields(resource, 2) {
			for _, span := range tracingFields(scope, 2) {
				s := tracingSpan{attributes: make(map[string]string)}
				for _, name := range tracingFields(span, 5) {
					s.name = string(name)
				}
				for _, pair := range tracingFields(span, 9) {
					for _, key := range tracingFields(pair, 1) {
						for _, value := range tracingFields(pair, 2) {
							for _, text := range tracingFields(value, 1) {
								s.attributes[string(key)] = string(text)
							}
						}
					}
				}
				spans = append(spans, s)
			}
		}
	}
	return spans
}

// tracingFields returns the length-delimited fields of the given number of a
// protocol buffer message.
func tracingFields(message []byte, number uint64) (fields [][]byte) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return fields
		}
		message = message[n:]
		size := 0
		switch tag & 7 {
		case 0: // a number
			_, size = binary.Uvarint(message)
		case 1:
			size = 8
		case 5:
			size = 4
		case 2:
			length, n := binary.Uvarint(message)
			if n <= 0 || length > uint64(len(message)-n) {
				return fields
			}
			message = message[n:]
			size = int(length) //nolint:gosec // bounded by the message
			if tag>>3 == number {
				fields = append(fields, message[:size])
			}
		}
		if size <= 0 && tag&7 != 2 || size > len(message) {
			return fields
		}
		message = message[size:]
	}
	return fields
}
