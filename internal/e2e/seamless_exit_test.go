package e2e

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// seamBegun is a request whose handler waits for /let.
type seamBegun struct {
	*seamConn
	body io.ReadCloser
	id   string
}

func seamBegin(t testing.TB, at seamAt, id, value string) seamBegun {
	t.Helper()
	c := at.mustDial(t)
	resp, err := c.send(http.MethodGet, "/hold/"+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	seamLine(t, resp.Body, value)
	return seamBegun{c, resp.Body, id}
}

// seamExit ends the server in one of two ways and waits until it shuts down.
func seamExit(t testing.TB, s *testcaddy.Server, way string) {
	t.Helper()
	if way == "stop" {
		go seamPost(t, s, "/stop") // the answer comes at the end
	} else {
		s.Signal(syscall.SIGTERM)
	}
	if !s.WaitLog(func(e testcaddy.Entry) bool { return strings.Contains(e.Msg, "exiting; byeee") }) {
		t.Fatal("Caddy does not exit")
	}
}

// wantExit waits for the end of the process, with code 0.
func seamWantExit(t testing.TB, s *testcaddy.Server) {
	t.Helper()
	select {
	case <-s.Exited():
	case <-time.After(seamPatience):
		t.Fatal("the process goes on")
	}
	if !s.WaitLog(func(e testcaddy.Entry) bool { return e.Msg == "shutdown complete" && e.Fields["exit_code"] == 0.0 }) {
		t.Errorf("the process did not end with code 0:\n%s", s.RawLog())
	}
}

func TestSeamlessExitFinishesRequests(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	for _, way := range []string{"SIGTERM", "stop"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			config := func(value, more string) testcaddy.Config {
				config := seamBoth(files, "ipv4/127.0.0.1", value)
				config.Global += "grace_period 50s\n"
				config.Sites += more
				return config
			}
			gone := seamSite("http://", "unixsock/$DIR/gone.sock", "0")
			s := testcaddy.Start(t, config("0", gone))
			ats := append(seamProtocols(s), seamUnix(s.Dir+"/gone.sock", "http"))
			ender := lifeDial(t, s, "/ws")
			lifeMustEcho(t, ender, "0")
			var begun []seamBegun
			for i, at := range ats {
				begun = append(begun, seamBegin(t, at, string(rune('a'+i)), "0"))
			}
			seamReload(t, s, config("1", "")) // the requests are of an earlier configuration, one of an address that is gone
			for i, at := range ats[:4] {
				begun = append(begun, seamBegin(t, at, string(rune('k'+i)), "1"))
			}
			var idle []*seamConn
			for _, at := range ats[:4] {
				c := at.mustDial(t)
				c.wantKept(t, "/value", "1")
				idle = append(idle, c)
			}
			seamExit(t, s, way)
			for _, c := range idle {
				c.wantEnd(t)
			}
			for i, b := range begun {
				if err := ender.WriteMessage(1, []byte("let "+b.id)); err != nil {
					t.Fatal(err)
				}
				value := "0"
				if i >= len(ats) {
					value = "1"
				}
				seamLine(t, b.body, value)
				if rest, err := io.ReadAll(b.body); err != nil || len(rest) > 0 {
					t.Errorf("request %s ended with %q, %v", b.id, rest, err)
				}
			}
			_ = ender.Close()
			seamWantExit(t, s)
		})
	}
}

// Requests that were begun over the wrapper's connections are finished, too,
// if the last configuration does not have the wrapper.
func TestSeamlessExitFinishesRequestsWithoutTheWrapper(t *testing.T) {
	t.Parallel()
	const bind, grace = "ipv4/127.0.0.1", "grace_period 50s\n"
	with, without := seamConfig("", seamSite(seamHTTP, bind, "0")), seamServers("protocols h1", seamSite(seamHTTP, bind, "1"))
	with.Global += grace
	without.Global += grace
	s := testcaddy.Start(t, with)
	ender := lifeDial(t, s, "/ws")
	lifeMustEcho(t, ender, "0")
	begun := seamBegin(t, seamTCP(s, "http"), "a", "0")
	seamReload(t, s, without)
	seamExit(t, s, "SIGTERM")
	// Caddy waits for the WebSocket's configuration, but no longer for its servers
	if !s.WaitLog(func(e testcaddy.Entry) bool { return strings.Contains(e.Msg, "servers shutting down") }) {
		t.Fatal("Caddy does not shut down")
	}
	if err := ender.WriteMessage(1, []byte("let a")); err != nil {
		t.Fatal(err)
	}
	seamLine(t, begun.body, "0")
	if rest, err := io.ReadAll(begun.body); err != nil || len(rest) > 0 {
		t.Errorf("the request ended with %q, %v", rest, err)
	}
	_ = ender.Close()
	seamWantExit(t, s)
}

// The same for a request that nothing else waits for.
func TestSeamlessExitFinishesRequestsOfCaddyWithoutTheWrapper(t *testing.T) {
	t.Parallel()
	const bind, grace = "ipv4/127.0.0.1", "grace_period 50s\n"
	with := seamConfig("", seamHTTP+" {\nbind "+bind+"\nreverse_proxy unix/$DIR/upstream.sock\n}\n")
	without := seamServers("protocols h1", seamSite(seamHTTP, bind, "1"))
	with.Global += grace
	without.Global += grace
	s := testcaddy.Start(t, with)
	upstream := seamUpstream(t, s.Dir+"/upstream.sock")
	c := seamTCP(s, "http").mustDial(t)
	resp, err := c.send(http.MethodGet, "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	seamLine(t, resp.Body, "begun")
	seamReload(t, s, without)
	seamExit(t, s, "SIGTERM")
	if !s.WaitLog(func(e testcaddy.Entry) bool { return strings.Contains(e.Msg, "servers shutting down") }) {
		t.Fatal("Caddy does not shut down")
	}
	select {
	case <-s.Exited():
		t.Error("the process exits while a request is running, within the grace period")
	case <-time.After(2 * time.Second): // long enough to exit
	}
	close(upstream)
	seamLine(t, resp.Body, "ended")
	seamWantExit(t, s)
}

func TestSeamlessExitCutsRequestsAfterTheGracePeriod(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	const grace = 4 * time.Second
	config := func(value string) testcaddy.Config {
		config := seamBoth(files, "ipv4/127.0.0.1", value)
		config.Global += "grace_period 4s\n"
		return config
	}
	s := testcaddy.Start(t, config("0"))
	var begun []seamBegun
	for i, at := range seamProtocols(s) {
		begun = append(begun, seamBegin(t, at, string(rune('a'+i)), "0"))
	}
	seamReload(t, s, config("1"))
	start := time.Now()
	seamExit(t, s, "SIGTERM")
	for _, b := range begun {
		rest, err := io.ReadAll(b.body)
		if err == nil {
			t.Errorf("%s: the request ended with %q", b.at.protocol, rest)
		}
		if d := time.Since(start); d < grace {
			t.Errorf("%s: the request was cut after %v, %v", b.at.protocol, d, err)
		}
	}
	seamWantExit(t, s)
}

func TestSeamlessExitWithoutAGracePeriodClosesIdleConnections(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	s := testcaddy.Start(t, seamBoth(files, "ipv4/127.0.0.1", "0"))
	var idle []*seamConn
	for range 5 {
		for _, at := range seamProtocols(s) {
			c := at.mustDial(t)
			c.wantKept(t, "/value", "0")
			idle = append(idle, c)
		}
	}
	seamReload(t, s, seamSettings(files, seamSmallHeader, "1")) // two epochs
	idle[0].wantLast(t, "/value", "1")
	seamExit(t, s, "SIGTERM")
	for _, c := range idle[1:] {
		c.wantEnd(t)
	}
	seamWantExit(t, s)
}

func TestSeamlessShutdownDelayServesRequests(t *testing.T) {
	t.Parallel()
	const delay = "shutdown_delay 4s\n"
	config := seamConfig("", seamSite(seamHTTP, "ipv4/127.0.0.1", "0", "respond /health {http.shutting_down}"))
	config.Global += delay
	s := testcaddy.Start(t, config)
	c := seamTCP(s, "http").mustDial(t)
	c.wantKept(t, "/health", "false")
	s.Signal(syscall.SIGTERM)
	if !s.WaitLog(func(e testcaddy.Entry) bool { return e.Msg == "shutdown scheduled" }) {
		t.Fatal("there is no delay")
	}
	for range 20 {
		c.wantKept(t, "/value", "0")
		seamServes(t, seamTCP(s, "http"), "/health", "true")
	}
	c.wantEnd(t)
	seamWantExit(t, s)
}
