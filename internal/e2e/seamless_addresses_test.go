package e2e

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestSeamlessServersComeAndGo(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	s := testcaddy.Start(t, seamBoth(files, "ipv4/127.0.0.1", "0"))
	config := func(value int64, sockets ...string) testcaddy.Config {
		config := seamBoth(files, "ipv4/127.0.0.1", strconv.FormatInt(value, 10))
		for _, name := range sockets {
			config.Sites += seamSite("http://", "unixsock/$DIR/"+name+".sock", name)
		}
		return config
	}
	load := seamStartLoad(t, seamProtocols(s)...)
	var conns []*seamConn
	value := int64(0)
	for range 5 {
		value++
		load.reload(t, s, value, config(value, "a"))
		a := seamUnix(s.Dir+"/a.sock", "http").mustDial(t)
		a.wantKept(t, "/value", "a")
		value++
		load.reload(t, s, value, config(value, "a", "b"))
		b := seamUnix(s.Dir+"/b.sock", "h2c").mustDial(t)
		b.wantKept(t, "/value", "b")
		a.wantKept(t, "/value", "a")
		value++
		load.reload(t, s, value, config(value, "b"))
		b.wantKept(t, "/value", "b")
		conns = append(conns, b)
		a.wantEnd(t)
		for _, other := range conns[:len(conns)-1] {
			other.wantEnd(t) // since its server was gone for a while
		}
		value++
		load.reload(t, s, value, config(value))
	}
	load.kept(t)
}

// seamPort is a site at several addresses of its port.
func seamPort(binds, value string) testcaddy.Config {
	return seamConfig("", seamSite("http://:$HTTP", binds, value))
}

func TestSeamlessOverlappingAddressChangesLoseNothing(t *testing.T) {
	t.Parallel()
	for name, binds := range map[string][2]string{
		"wildcard and address": {"ipv4/*", "ipv4/127.0.0.1"},
		"dual and ipv4":        {"dual/", "ipv4/"},
		"two spellings":        {"ipv4/", "ipv4/*"},
		"localhost":            {"dual/", "dual/localhost"},
		"one and two":          {"ipv4/127.0.0.1", "ipv4/127.0.0.1 ipv6/::1"},
		"options":              {"ipv4/127.0.0.1", "ipv4/127.0.0.1?backlog=100"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, seamPort(binds[0], "0"))
			load := seamStartLoad(t, seamTCP(s, "http"), seamTCP(s, "h2c"))
			for i := int64(1); i <= 10; i++ {
				load.reload(t, s, i, seamPort(binds[i%2], strconv.FormatInt(i, 10)))
			}
			load.lossless(t)
		})
	}
}

// The same with TLS, for which the address that a connection came to must be
// found among several.
func TestSeamlessOverlappingAddressChangesLoseNothingWithTLS(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	for name, binds := range map[string][2]string{
		"wildcard and address": {"ipv4/*", "ipv4/127.0.0.1"},
		"localhost":            {"dual/", "dual/localhost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := func(i int64) testcaddy.Config {
				return seamConfig("", seamSite(seamHTTPS, binds[i%2], strconv.FormatInt(i, 10), files.tls))
			}
			s := testcaddy.Start(t, config(0))
			v6 := seamTCP(s, "https")
			v6.address = net.JoinHostPort("::1", strconv.Itoa(s.HTTPSPort))
			ats := []seamAt{seamTCP(s, "https"), seamTCP(s, "h2")}
			if strings.HasPrefix(binds[0], "dual") {
				ats = append(ats, v6)
			}
			load := seamStartLoad(t, ats...)
			for i := int64(1); i <= 10; i++ {
				load.reload(t, s, i, config(i))
			}
			load.lossless(t)
		})
	}
}

// A kept connection goes on, for one more answer, if another address takes its
// place; if none does, it is closed.
func TestSeamlessConnectionsToAnAddressThatIsGone(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, seamPort("ipv4/*", "0"))
	for i, step := range []struct {
		binds string
		want  func(c *seamConn, value string)
	}{
		{"ipv4/127.0.0.1", func(c *seamConn, value string) { c.wantLast(t, "/value", value) }},
		{"ipv4/*", func(c *seamConn, value string) { c.wantLast(t, "/value", value) }},
		{"ipv4/*?backlog=50", func(c *seamConn, value string) { c.wantKept(t, "/value", value) }},
		{"unixsock/$DIR/app.sock", func(c *seamConn, _ string) { c.wantEnd(t) }},
	} {
		var conns []*seamConn
		for _, protocol := range []string{"http", "h2c"} {
			c := seamTCP(s, protocol).mustDial(t)
			c.wantKept(t, "/value", strconv.Itoa(i))
			conns = append(conns, c)
		}
		value := strconv.Itoa(i + 1)
		seamReload(t, s, seamPort(step.binds, value))
		for _, c := range conns {
			step.want(c, value)
		}
	}
}

// A server that loses the wrapper answers once more over the connections that
// the wrapper has, unless they have TLS; new ones are Caddy's own.
func TestSeamlessWrapperComesAndGoes(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	const bind = "ipv4/127.0.0.1"
	with := func(value string) testcaddy.Config { return seamBoth(files, bind, value) }
	without := func(value string) testcaddy.Config {
		return seamServers("protocols h1 h2 h2c", seamSite(seamHTTP, bind, value), seamSite(seamHTTPS, bind, value, files.tls))
	}
	s := testcaddy.Start(t, without("0"))
	for i := range 3 {
		value := strconv.Itoa(i)
		seamReload(t, s, with(value))
		var conns []*seamConn
		for _, at := range seamProtocols(s) {
			c := at.mustDial(t)
			c.wantKept(t, "/value", value)
			conns = append(conns, c)
		}
		seamReload(t, s, with(value))
		for _, c := range conns {
			c.wantKept(t, "/value", value)
		}
		seamReload(t, s, without(value+"0"))
		for _, c := range conns {
			if c.at.protocol == "http" || c.at.protocol == "h2c" {
				c.wantLast(t, "/value", value+"0")
			} else {
				c.wantEnd(t)
			}
			c.at.mustDial(t).wantKept(t, "/value", value+"0") // Caddy's own server
		}
	}
}
