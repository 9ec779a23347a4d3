//go:build unix

package seamless

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/listeners"
)

// leaveChild is the variable that has a test run in a process of its own, which
// leaves.
const leaveChild = "SEAMLESS_LEAVE_CHILD"

// inChild runs the test in a child process. It is true there.
func inChild(t *testing.T) bool {
	t.Helper()
	if os.Getenv(leaveChild) != "" {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), leaveChild+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// leaveAddresses are those of a configuration whose servers answer with their
// names: a, u (a Unix socket) and t (TLS) leave, and b takes.
type leaveAddresses struct{ a, u, t, b, taken string }

func leaveLoad(t *testing.T) leaveAddresses {
	t.Helper()
	dir, err := os.MkdirTemp("", "l") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := func() string { return fmt.Sprintf("127.0.0.1:%d", testcaddy.FreePort(t)) }
	at := leaveAddresses{a: port(), u: filepath.Join(dir, "u"), t: port(), b: port()}
	_, bound, _ := strings.Cut(at.b, ":")
	at.taken = "ipv4/127.0.0.1?keepalive=off&maxconn=1:" + bound
	var servers []string
	for name, listen := range map[string]string{"a": "ipv4/" + at.a, "u": "unixsock/" + at.u, "t": "ipv4/" + at.t, "b": at.taken} {
		more := ""
		if name == "t" {
			more = `, "tls_connection_policies": [{}]`
		}
		servers = append(servers, fmt.Sprintf(`%q: {"listen": [%q], "protocols": ["h1", "h2", "h2c"], "automatic_https": {"disable": true},
			"listener_wrappers": [{"wrapper": "seamless"}], "routes": [{"handle": [
				{"handler": "headers", "response": {"set": {"Server": [%q]}}}, {"handler": "static_response", "body": "GET /a "}]}]%s}`, name, listen, name, more))
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	if err := caddy.Load(fmt.Appendf(nil, `{"admin": {"disabled": true}, "logging": {"logs": {"default": {"level": "ERROR"}}},
		"apps": {"http": {"servers": {%s}}%s}}`, strings.Join(servers, ","), infoCertificate(t)), true); err != nil {
		t.Fatal(err)
	}
	return at
}

// leaveGive is a move to the address b of this process.
func (at leaveAddresses) give(conn syscall.Conn) error {
	file, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return err
	}
	defer file.Close()
	own, err := net.FileConn(file)
	if err != nil {
		return err
	}
	return Give("ipv4/"+at.b, own)
}

// wantLast fails the test unless the next answer is the last one of a server's
// connection.
func (c *moveClient) wantLast(t *testing.T, server string) {
	t.Helper()
	if s, body, err := c.answer(); s != server || err == nil || !strings.Contains(err.Error(), "last answer: true") {
		t.Fatalf("%s answered %q, %v; want the last answer of %s", s, body, err, server)
	}
	c.wantEnd(t)
}

// leaveOpen returns how many connections package listeners counts at an address.
func leaveOpen(asked string) int64 {
	for _, s := range listeners.Sockets() {
		if s.Asked == asked {
			return s.Open
		}
	}
	return -1
}

// leaveBusy returns how many connections are in a request.
func leaveBusy() int {
	n := 0
	for _, e := range fronts.epochs() {
		n += moveServer{e}.in(busy)
	}
	return n
}

func TestLeave(t *testing.T) {
	if !inChild(t) {
		return
	}
	at := leaveLoad(t)
	want := slices.Sorted(slices.Values([]string{"ipv4/" + at.a, "ipv4/" + at.b, "unixsock/" + at.u}))
	if keys := PlainKeys(); !slices.Equal(keys, want) {
		t.Errorf("got keys %q, want %q", keys, want)
	}
	tcp, unixAddr := testTCP(t, at.a), &net.UnixAddr{Net: "unix", Name: at.u}
	for _, key := range []string{"ipv4/" + at.t, "ipv4/127.0.0.1:1"} {
		here, there := net.Pipe()
		if err := Give(key, here); err == nil {
			t.Errorf("%s takes a connection", key)
		}
		if _, err := there.Read(make([]byte, 1)); err == nil {
			t.Error("it was not closed")
		}
	}

	idleA, idleU, busy, unwanted := moveDial(t, tcp), moveDial(t, unixAddr), moveDial(t, tcp), moveDial(t, tcp)
	fresh := moveDial(t, tcp)
	for _, c := range []*moveClient{idleA, idleU} {
		c.send(t, moveGet)
		if _, _, err := c.answer(); err != nil {
			t.Fatal(err)
		}
	}
	secret := moveDial(t, testTCP(t, at.t))
	conn := tls.Client(secret.Conn, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}) //nolint:gosec // a certificate of the test
	secret = &moveClient{conn, bufio.NewReader(conn)}
	secret.send(t, moveGet)
	secret.want(t, "t", "GET /a ")
	for _, c := range []*moveClient{busy, unwanted} {
		c.send(t, moveGet[:12])
	}
	moveUntil(t, "all are open, two of them in a request", func() bool { return Connections() == 6 && leaveBusy() == 2 })

	var refuse atomic.Bool
	taken := "ipv4/" + at.a + " unixsock/" + at.u
	Leave(func(_ string, conn syscall.Conn) error {
		if refuse.Load() {
			return errors.New("no")
		}
		return at.give(conn)
	}, func(key string) bool { return strings.Contains(taken, key) })
	moveUntil(t, "the idle ones moved", func() bool { return Left().Moved == 3 && leaveOpen(at.taken) == 3 })
	for _, c := range []*moveClient{idleA, idleU, fresh} {
		c.send(t, moveGet)
		c.wantLast(t, "b") // which leaves too, and nobody takes its connections
	}
	busy.send(t, moveGet[12:])
	busy.want(t, "a", "GET /a ")
	moveUntil(t, "it moved when it was idle", func() bool { return Left().Moved == 4 && leaveOpen(at.taken) == 1 })

	refuse.Store(true)
	unwanted.send(t, moveGet[12:])
	unwanted.want(t, "a", "GET /a ")
	moveUntil(t, "it could not move", func() bool { return Left().Kept == 1 })
	unwanted.send(t, moveGet)
	unwanted.wantLast(t, "a")
	secret.send(t, moveGet)
	secret.wantLast(t, "t")
	refuse.Store(false)

	later := moveDial(t, tcp) // it moves before its request comes
	later.send(t, moveGet[:12])
	moveUntil(t, "two are left, one of them in a request", func() bool { return Connections() == 2 && leaveBusy() == 1 })
	Abort()
	later.wantEnd(t)
	busy.wantEnd(t)
	moveUntil(t, "none is left", func() bool { return Connections() == 0 && leaveOpen(at.taken) <= 0 })
	if got := Left(); got != (LeaveStats{Moved: 5, Kept: 1, Aborted: 2}) {
		t.Errorf("got %+v", got)
	}
}

func testTCP(t *testing.T, address string) net.Addr {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// TestMovableKeepsWhatItIs checks what others find in a connection.
func TestMovableKeepsWhatItIs(t *testing.T) {
	at := filepath.Join(os.TempDir(), fmt.Sprintf("m%d", time.Now().UnixNano()))
	na, err := caddy.ParseNetworkAddress("unixsock/" + at)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := na.Listen(t.Context(), 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ln := opened.(net.Listener)
	defer ln.Close()
	client, err := net.Dial("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	counted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := makeMovable(counted)
	if movableOf(conn) == nil {
		t.Fatalf("a %T does not move", counted)
	}
	if peer, ok := listeners.PeerOf(conn); ok != listeners.PeerSupported || ok && peer.UID != os.Geteuid() {
		t.Errorf("got %+v, %v", peer, ok)
	}
	if conn.RemoteAddr().Network() != "unix" || conn.LocalAddr().String() != at {
		t.Errorf("got %s, %s", conn.RemoteAddr(), conn.LocalAddr())
	}
	if open := leaveOpen("unixsock/" + at); open != 1 {
		t.Errorf("%d are open", open)
	}
	_ = conn.Close()
	if open := leaveOpen("unixsock/" + at); open != 0 {
		t.Errorf("%d are open", open)
	}
	for _, other := range []net.Conn{tls.Server(counted, nil), struct{ net.Conn }{counted}, nil} {
		if makeMovable(other) != other {
			t.Errorf("a %T moves", other)
		}
	}
}
