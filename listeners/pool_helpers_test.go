package listeners

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// poolPatience is how long what must come may take.
const poolPatience = 30 * time.Second

// poolOpen opens a listener as Caddy does.
func poolOpen(t testing.TB, ctx context.Context, address string) net.Listener {
	t.Helper()
	ln, err := poolTry(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func poolTry(ctx context.Context, address string) (net.Listener, error) {
	na, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return nil, err
	}
	ln, err := na.Listen(ctx, 0, net.ListenConfig{})
	if err != nil {
		return nil, err
	}
	return ln.(net.Listener), nil
}

// poolConfig is the context of a configuration.
func poolConfig(t testing.TB) context.Context {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	return ctx
}

// poolAnyPort opens a listener at a free port. Port 0 would not do: tests that
// ask for it at the same address share a socket.
func poolAnyPort(t testing.TB, address string) (net.Listener, int) {
	t.Helper()
	var err error
	for range 20 { // somebody may take the port in between
		var probe net.Listener
		if probe, err = net.Listen("tcp", ":0"); err != nil {
			t.Fatal(err)
		}
		port := probe.Addr().(*net.TCPAddr).Port
		_ = probe.Close()
		var ln net.Listener
		ln, err = poolTry(poolConfig(t), strings.ReplaceAll(address, "PORT", strconv.Itoa(port)))
		if err == nil {
			t.Cleanup(func() { _ = ln.Close() })
			return ln, port
		}
	}
	t.Fatal(err)
	return nil, 0
}

// poolSend makes connections that say who they are, and wait.
func poolSend(t testing.TB, dial []net.Addr, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range n {
		addr := dial[i%len(dial)]
		conn, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { poolEnd(conn) })
		if _, err := conn.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	return conns
}

// poolEnd closes a connection so that it does not stay in TIME_WAIT.
func poolEnd(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// poolEcho answers all connections of a listener with what they say.
func poolEcho(ln net.Listener, accepted *atomic.Int64) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		accepted.Add(1)
		go func() {
			defer func() { _ = conn.Close() }()
			_, _ = io.Copy(conn, conn)
		}()
	}
}

// poolAnswered fails the test unless all connections are answered.
func poolAnswered(t testing.TB, conns []net.Conn) {
	t.Helper()
	lost := 0
	var last error
	for i, conn := range conns {
		_ = conn.SetDeadline(time.Now().Add(poolPatience))
		var answer [1]byte
		_, err := io.ReadFull(conn, answer[:])
		if err == nil && answer[0] != byte(i) {
			err = fmt.Errorf("connection %d got the answer of %d", i, answer[0])
		}
		if err != nil {
			lost, last = lost+1, err
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d connections were lost, the last: %v", lost, len(conns), last)
	}
}

// poolClient makes one connection after the other until the first is lost.
func poolClient(dial []net.Addr, first int, stop <-chan struct{}, failed chan<- error, answered *atomic.Int64) {
	fail := func(format string, args ...any) {
		select {
		case failed <- fmt.Errorf(format, args...):
		default:
		}
	}
	for i := first; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		addr := dial[i%len(dial)]
		conn, err := net.DialTimeout(addr.Network(), addr.String(), poolPatience)
		if err != nil {
			fail("connecting: %w", err)
			return
		}
		_ = conn.SetDeadline(time.Now().Add(poolPatience))
		b := []byte{byte(i)}
		if _, err = conn.Write(b); err == nil {
			_, err = io.ReadFull(conn, b)
		}
		poolEnd(conn)
		if err != nil {
			fail("after %d answers: %w", answered.Load(), err)
			return
		}
		answered.Add(1)
	}
}
