package e2e

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// The span that Caddy's tracing directive begins has the route pattern: the
// path would make each user a span name of their own. The name that the
// operator gave it stays.
func TestSpansHaveTheRoutePattern(t *testing.T) {
	t.Parallel()
	collector := newTracingCollector(t)
	s := collector.start(optSite(`
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
	}`))
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
	for target, route := range want {
		span := collector.await("the span "+target, func(span tracingSpan) bool { return span.Name == target })
		got, has := span.attribute("http.route")
		if got != route || has != (route != "") {
			t.Errorf("%s: http.route is %q, want %q; the attributes are %v", target, got, route, span.Attributes)
		}
		if method, _ := span.attribute("http.request.method"); method != "GET" {
			t.Errorf("%s: misread, the attributes are %v", target, span.Attributes)
		}
	}
	optDo(t, s, http.MethodPost, "/timed/release")
}

// Without a name from the operator it is that of OpenTelemetry's conventions,
// in which nothing is of the client's making.
func TestSpansAreNamedByMethodAndRoute(t *testing.T) {
	t.Parallel()
	collector := newTracingCollector(t)
	s := collector.start(testcaddy.Config{Sites: `http://localhost:$HTTP, https://localhost:$HTTPS {
	tls internal
	tracing
	handle /timed/* {
		gin opt-timeout {
			base_path /timed
			timeout 300ms
		}
	}
	handle_path /app/* {
		gin tracing
	}
	handle /passed/* {
		gin tracing {
			fallthrough
		}
		respond passed
	}
	handle /rewritten/* {
		method GET
		gin hello
	}
	handle {
		gin hello
	}
}
`})
	for _, test := range []struct{ protocol, method, target, want string }{
		{"http", "GET", "/users/1", "GET /users/:id"},
		{"https", "GET", "/users/2", "GET /users/:id"},
		{"h2", "GET", "/users/3", "GET /users/:id"},
		{"http", "HEAD", "/static/hello.txt", "HEAD /static/*filepath"},
		{"http", "GET", "/fail", "GET /fail"},
		{"http", "GET", "/panic", "GET /panic"},
		{"http", "GET", "/users/4/", "GET"}, // a redirect
		{"http", "GET", "/nothing/1", "GET"},
		{"h2", "DELETE", "/nothing/2", "DELETE"},
		{"http", "BREW", "/nothing/3", "HTTP"},
		{"http", "get", "/nothing/4", "HTTP"},
		{"http", "POST", "/rewritten/1", "POST"}, // as in the attribute http.request.method
		{"http", "GET", "/app/plain/7", "GET /plain/:id"},
		{"http", "PROPFIND", "/app/files/a", "HTTP /files/*path"}, // no well-known method
		{"http", "GET", "/passed/on", "handler"},                  // by Caddy's respond
		{"http", "GET", "/timed/sleep", "GET /sleep"},
		{"h2", "GET", "/timed/late-write", "GET /late-write"},
	} {
		req, err := http.NewRequest(test.method, s.URL(test.protocol, test.target), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := testcaddy.Client(t, test.protocol).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if span := collector.awaitCaddy(test.target); span.Name != test.want {
			t.Errorf("%s, %s %s: the span is named %q, want %q", test.protocol, test.method, test.target, span.Name, test.want)
		}
	}
	optDo(t, s, http.MethodPost, "/timed/release")
}

// Spans that the app begins are beneath Caddy's, and exported with them.
func TestSpansOfTheAppNest(t *testing.T) {
	t.Parallel()
	collector := newTracingCollector(t)
	s := collector.start(testcaddy.Config{Sites: `http://localhost:$HTTP, https://localhost:$HTTPS {
	tls internal
	tracing
	gin tracing
}
`})
	const otelgin = "go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"
	for _, test := range []struct {
		protocol, target string
		scopes           []string // of the spans beneath Caddy's, the outer one first
	}{
		{"http", "/plain/1", []string{"tracing"}},
		{"http", "/otelgin/2", []string{otelgin, "tracing"}},
		{"http", "/propagated/3", []string{otelgin, "tracing"}},
		{"h2", "/plain/4", []string{"tracing"}},
		{"h2", "/otelgin/5", []string{otelgin, "tracing"}},
		{"h2", "/propagated/6", []string{otelgin, "tracing"}},
	} {
		resp, err := testcaddy.Client(t, test.protocol).Get(s.URL(test.protocol, test.target))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		parent := collector.awaitCaddy(test.target)
		for _, scope := range test.scopes {
			span := collector.await(test.target+": the span of "+scope, func(span tracingSpan) bool {
				return span.scope == scope && bytes.Equal(span.ParentSpanId, parent.SpanId)
			})
			if !bytes.Equal(span.TraceId, parent.TraceId) {
				t.Errorf("%s: the span of %s has the trace ID %x, and that of %s %x",
					test.target, scope, span.TraceId, parent.scope, parent.TraceId)
			}
			parent = span
		}
	}
}
