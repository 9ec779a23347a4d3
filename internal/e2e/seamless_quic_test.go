package e2e

import (
	"net"
	"strconv"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// A configuration that fails after its start leaves no socket of HTTP/3
// behind, nor a use of the one there is.
func TestSeamlessConfigurationThatFailsLeavesNoQUICSocket(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	const bind = "ipv4/127.0.0.1"
	plain := func(value string) testcaddy.Config { return seamConfig("", seamSite(seamHTTP, bind, value)) }
	h3 := seamServers("protocols h1 h2\nlistener_wrappers {\nseamless {\nh3\n}\n}", seamSite(seamHTTPS, bind, "h3", files.tls))
	for name, loads := range map[string]struct{ works, fails bool }{
		"works": {works: true}, "fails": {fails: true}, "works and fails": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, plain("0"))
			if loads.works {
				seamReload(t, s, h3)
			}
			if loads.fails {
				lifeLoadLateFailure(t, s, h3, false)
			}
			seamReload(t, s, plain("1"))
			seamServes(t, seamTCP(s, "http"), "/value", "1")
			testcaddy.Eventually(t, "the UDP port is free", func() bool {
				conn, err := net.ListenPacket("udp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.HTTPSPort)))
				if err == nil {
					_ = conn.Close()
				}
				return err == nil
			})
		})
	}
}
