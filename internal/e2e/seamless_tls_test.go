package e2e

import (
	"crypto/tls"
	"net/http"
	"strconv"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// seamTLS is a site with TLS, and a global option.
func seamTLS(global, tls, value string) testcaddy.Config {
	config := seamConfig("", seamSite(seamHTTPS, "ipv4/127.0.0.1", value, tls))
	config.Global += global
	return config
}

// wantNoAnswer makes a request that must not reach the configuration: the
// answer is 421, or the connection is closed.
func (c *seamConn) wantNoAnswer(t testing.TB) {
	t.Helper()
	if answer, err := c.get("/value"); err == nil && answer.status != http.StatusMisdirectedRequest {
		t.Errorf("%s: got %d %q over a connection of the old policies", c.at.protocol, answer.status, answer.body)
	}
}

// wantCertificate checks that the site wants a client's certificate.
func wantCertificate(t testing.TB, s *testcaddy.Server, files seamFiles, session tls.ClientSessionCache, value string) {
	t.Helper()
	for _, protocol := range []string{"https", "h2"} {
		at := seamTCP(s, protocol)
		at.session = session
		if c, err := at.dial(); err == nil { // TLS 1.3: the refusal comes with the first read
			if answer, err := c.get("/value"); err == nil {
				t.Errorf("%s without a certificate: got %d %q", protocol, answer.status, answer.body)
			}
			_ = c.Close()
		}
		at.cert = &files.client
		seamServes(t, at, "/value", value)
	}
}

func TestSeamlessMutualTLSAddedByAReloadIsEnforced(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	s := testcaddy.Start(t, seamTLS("", files.tls, "open"))
	for range 5 {
		session := tls.NewLRUClientSessionCache(10)
		var conns []*seamConn
		for _, protocol := range []string{"https", "h2"} {
			at := seamTCP(s, protocol)
			at.session = session
			for range 3 {
				c := at.mustDial(t)
				c.wantKept(t, "/value", "open")
				conns = append(conns, c)
			}
		}
		seamReload(t, s, seamTLS("", files.mtls(), "closed"))
		for _, c := range conns {
			c.wantNoAnswer(t)
			c.wantEnd(t)
		}
		wantCertificate(t, s, files, session, "closed")
		seamReload(t, s, seamTLS("", files.tls, "open"))
		for _, protocol := range []string{"https", "h2"} {
			seamServes(t, seamTCP(s, protocol), "/value", "open")
		}
	}
}

// A request that has begun under the old policies is finished by its own
// configuration.
func TestSeamlessMutualTLSLetsRunningRequestsFinish(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	s := testcaddy.Start(t, seamTLS("", files.tls, "open"))
	for _, protocol := range []string{"https", "h2"} {
		seamReload(t, s, seamTLS("", files.tls, "open"))
		c := seamTCP(s, protocol).mustDial(t)
		resp, err := c.send(http.MethodGet, "/hold/"+protocol, nil)
		if err != nil {
			t.Fatal(err)
		}
		seamLine(t, resp.Body, "open")
		seamReload(t, s, seamTLS("", files.mtls(), "closed"))
		at := seamTCP(s, protocol)
		at.cert = &files.client
		if answer, err := at.mustDial(t).do(http.MethodPost, "/let/"+protocol, nil); err != nil || answer.status != http.StatusOK {
			t.Fatalf("got %+v, %v", answer, err)
		}
		seamLine(t, resp.Body, "open")
		_ = resp.Body.Close()
		c.wantEnd(t)
	}
}

func TestSeamlessUnchangedMutualTLSKeepsConnections(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	s := testcaddy.Start(t, seamTLS("", files.mtls(), "0"))
	var conns []*seamConn
	for _, protocol := range []string{"https", "h2"} {
		at := seamTCP(s, protocol)
		at.cert = &files.client
		c := at.mustDial(t)
		c.wantKept(t, "/value", "0")
		conns = append(conns, c)
	}
	for i := 1; i <= 20; i++ {
		seamReload(t, s, seamTLS("", files.mtls(), strconv.Itoa(i)))
		for _, c := range conns {
			c.wantKept(t, "/value", strconv.Itoa(i))
		}
	}
}

// With these networks the old configuration goes on for shutdown_delay at each
// reload. Meanwhile, too, the new one gets its connections, and no request of
// a new client is refused.
func TestSeamlessMutualTLSIsEnforcedDuringShutdownDelay(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	const delay = "shutdown_delay 3s\n"
	s := testcaddy.Start(t, seamTLS(delay, files.tls, "open"))
	old := seamTCP(s, "https").mustDial(t)
	old.wantKept(t, "/value", "open")
	loaded := make(chan error, 1)
	go func() { loaded <- s.Reload(seamTLS(delay, files.mtls(), "closed")) }()
	if !s.WaitLog(func(e testcaddy.Entry) bool { return e.Msg == "shutdown scheduled" }) {
		t.Fatal("there is no delay")
	}
	old.wantNoAnswer(t)
	at := seamTCP(s, "https")
	at.cert = &files.client
	refused := 0
	const tries = 20
	for range tries {
		c, err := at.dial()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.get("/value")
		if err != nil || answer.body != "closed" {
			refused++
			t.Logf("got %d %q, %v", answer.status, answer.body, err)
		}
		_ = c.Close()
	}
	if refused > 0 {
		t.Errorf("%d of %d new connections with a certificate were refused", refused, tries)
	}
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
}
