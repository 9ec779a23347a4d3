package e2e

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestTenThousandSocketsLeaveNothing(t *testing.T) {
	t.Parallel()
	sockNetwork(t)
	const loads, ports = 20, 500
	s := testcaddy.Start(t, sockConfig(sockSite(8080, "ipv4/127.0.0.1", "v0")))
	for range 5 {
		sockReload(t, s, sockSite(8080, "ipv4/127.0.0.1", "v0"))
	}
	sockSettled(t, s, 8080)
	var base lifeBase
	for range 10 {
		now := lifeMeasure(s)
		base.goroutines = max(base.goroutines, now.goroutines)
		base.descriptors = max(base.descriptors, now.descriptors)
	}
	for i := range loads {
		// every other load overlaps with the one before
		first := 20_000 + i/2*ports
		bind := []string{"ipv4/*", "ipv4/127.0.0.1"}[i%2]
		value := "v" + strconv.Itoa(i)
		// Caddyfiles have no ranges of ports
		config := fmt.Sprintf(`{"admin": {"listen": "unix/%s/admin.sock"}, "apps": {"http": {"http_port": 1, "servers": {"s": {
			"listen": ["%s:%d-%d", "ipv4/127.0.0.1:8080"],
			"routes": [{"handle": [{"handler": "static_response", "body": "%s"}]}]}}}}}`, s.Dir, bind, first, first+ports-1, value)
		if err := s.Load("application/json", config); err != nil {
			t.Fatal(err)
		}
		for _, port := range []int{first, first + ports - 1, 8080} {
			sockServes(t, "tcp", sockAt(port), value)
		}
	}
	if n := sockLogged(s, "listening"); n != loads*ports+1 {
		t.Errorf("%d sockets were opened, want %d", n, loads*ports+1)
	}
	sockReload(t, s, sockSite(8080, "ipv4/127.0.0.1", "end"))
	sockServes(t, "tcp", sockAt(8080), "end")
	sockSettled(t, s, 8080)
	base.restored(t, s)
}
