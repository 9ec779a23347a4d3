package e2e

import (
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// A stream is a request, but how long its client wanted it is no duration of
// the app's; what was aborted is no success.
func TestMetricsOfStreamsAndAbortedRequests(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, optSite("gin hello"))
	client := testcaddy.Client(t, "http")
	lifeGet(t, client, s.HTTP("/events?n=3&interval=10ms"))
	conn := lifeDial(t, s, "/ws")
	_ = conn.Close()
	_, _, _ = lifeTry(client, s.HTTP("/abort"))
	lifeGet(t, client, s.HTTP("/ping"))
	want := []string{
		`caddy_gin_requests_total{app="hello",code="200",method="GET",route="/events"} 1`,
		`caddy_gin_requests_total{app="hello",code="101",method="GET",route="/ws"} 1`,
		`caddy_gin_requests_total{app="hello",code="0",method="GET",route="/abort"} 1`,
		`caddy_gin_requests_total{app="hello",code="200",method="GET",route="/ping"} 1`,
		`caddy_gin_request_duration_seconds_count{app="hello",method="GET",route="/events"} 0`,
		`caddy_gin_request_duration_seconds_count{app="hello",method="GET",route="/ws"} 0`,
		`caddy_gin_request_duration_seconds_count{app="hello",method="GET",route="/abort"} 1`,
		`caddy_gin_request_duration_seconds_count{app="hello",method="GET",route="/ping"} 1`,
		`caddy_gin_panics_total{app="hello",route="/ping"} 0`,
	}
	var page string
	testcaddy.Eventually(t, "the last handler's return", func() bool {
		body, err := s.Admin("/metrics")
		page = string(body)
		return err == nil && strings.Contains(page, want[1])
	})
	for _, line := range want {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}
