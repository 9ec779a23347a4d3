package e2e

import (
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// seamBinds are the networks of the tests, those of Caddy included.
var seamBinds = []string{"ipv4/127.0.0.1", "dual/localhost", "dual/", "unixsock/$DIR/app.sock", "tcp4/127.0.0.1", "unix/$DIR/app.sock"}

// seamBoth is a configuration with a plain site and one with TLS on a network.
// A Unix socket of the latter is named tls.sock.
func seamBoth(files seamFiles, bind, value string) testcaddy.Config {
	return seamConfig("",
		seamSite(seamHTTP, bind, value),
		seamSite(seamHTTPS, strings.Replace(bind, "app.sock", "tls.sock", 1), value, files.tls))
}

// seamWay is the way to a site of seamBoth.
func seamWay(s *testcaddy.Server, bind, protocol string) seamAt {
	at := seamTCP(s, protocol)
	if !strings.HasPrefix(bind, "unix") {
		return at
	}
	file := s.Dir + "/app.sock"
	if strings.HasPrefix(at.url(""), "https") {
		file = s.Dir + "/tls.sock"
	}
	return seamUnix(file, protocol)
}

func TestSeamlessConnectionsGoOnAcrossReloads(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	for _, bind := range seamBinds {
		t.Run(strings.ReplaceAll(bind, "/", "_"), func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, seamBoth(files, bind, "0"))
			var conns []*seamConn
			for _, protocol := range []string{"http", "https", "h2", "h2c"} {
				c := seamWay(s, bind, protocol).mustDial(t)
				c.wantKept(t, "/value", "0")
				conns = append(conns, c)
			}
			for i := 1; i <= 20; i++ {
				value := strconv.Itoa(i)
				seamReload(t, s, seamBoth(files, bind, value))
				for _, c := range conns {
					c.wantKept(t, "/value", value)
					c.wantKept(t, "/plain", value)
				}
			}
		})
	}
}

func TestSeamlessReloadsUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	for _, bind := range []string{"ipv4/127.0.0.1", "unixsock/$DIR/app.sock"} {
		t.Run(strings.ReplaceAll(bind, "/", "_"), func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, seamBoth(files, bind, "0"))
			var ats []seamAt
			for _, protocol := range []string{"http", "https", "h2", "h2c"} {
				ats = append(ats, seamWay(s, bind, protocol))
			}
			load := seamStartLoad(t, ats...)
			for i := int64(1); i <= 30; i++ {
				load.reload(t, s, i, seamBoth(files, bind, strconv.FormatInt(i, 10)))
			}
			load.kept(t)
		})
	}
}
