package listeners_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// peerPair connects a client to a listener and returns the end of the server.
func peerPair(t testing.TB, network, address string) net.Conn {
	t.Helper()
	if network == "unix" && !listeners.PeerSupported {
		t.Skipf("%s does not tell the peers of Unix sockets", runtime.GOOS)
	}
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	client, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

func peerSocket(t testing.TB) net.Conn {
	t.Helper()
	dir, err := os.MkdirTemp("", "peer") // short: it is part of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return peerPair(t, "unix", filepath.Join(dir, "s"))
}

// peerMyself is what the kernel says of this process.
func peerMyself() listeners.Peer {
	me := listeners.Peer{UID: os.Geteuid(), GID: os.Getegid(), PID: os.Getpid()}
	if runtime.GOOS == "freebsd" {
		me.PID = 0
	}
	return me
}

func TestPeerOfUnixSocket(t *testing.T) {
	t.Parallel()
	conn := peerSocket(t)
	if got, ok := listeners.PeerOf(conn); !ok || got != peerMyself() {
		t.Errorf("got %+v, %t; want %+v", got, ok, peerMyself())
	}
	conn.Close()
	if got, ok := listeners.PeerOf(conn); ok {
		t.Errorf("a closed connection has the peer %+v", got)
	}
}

// Layers as they are found around connections.
type (
	embedsConn     struct{ net.Conn }
	embedsPointer  struct{ *embedsConn }
	embedsUnix     struct{ *net.UnixConn }
	embedsTCP      struct{ *net.TCPConn }
	hasNetConn     struct{ hidden }
	hasUnwrap      struct{ hidden }
	hasRaw         struct{ hidden }
	containsItself struct{ hidden }
	contentless    struct{ hidden }

	// hidden has a connection that only methods give away.
	hidden struct {
		refusesAddresses
		inner net.Conn
	}
	refusesAddresses struct{ net.Conn }
	named            struct {
		hidden
		Conn string // not embedded
	}
)

func (h hasNetConn) NetConn() net.Conn     { return h.inner }
func (h hasUnwrap) Unwrap() net.Conn       { return h.inner }
func (h hasRaw) Raw() net.Conn             { return h.inner }
func (c containsItself) NetConn() net.Conn { return c }

// Asking for an address can mean to wait for the client.
func (refusesAddresses) LocalAddr() net.Addr  { panic("asked for the local address") }
func (refusesAddresses) RemoteAddr() net.Addr { panic("asked for the remote address") }

// peerLayers are layers through which the socket is found.
var peerLayers = map[string]func(net.Conn) net.Conn{
	"nothing":              func(c net.Conn) net.Conn { return c },
	"TLS":                  func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{}) },
	"embeds a net.Conn":    func(c net.Conn) net.Conn { return embedsConn{c} },
	"a pointer to one":     func(c net.Conn) net.Conn { return &embedsConn{c} },
	"embeds one that does": func(c net.Conn) net.Conn { return embedsPointer{&embedsConn{c}} },
	"NetConn":              func(c net.Conn) net.Conn { return hasNetConn{hidden{inner: c}} },
	"Unwrap":               func(c net.Conn) net.Conn { return hasUnwrap{hidden{inner: c}} },
	"Raw":                  func(c net.Conn) net.Conn { return hasRaw{hidden{inner: c}} },
	"no addresses":         func(c net.Conn) net.Conn { return refusesAddresses{c} },
	"many": func(c net.Conn) net.Conn {
		return tls.Server(&embedsConn{hasRaw{hidden{inner: hasUnwrap{hidden{inner: embedsConn{c}}}}}}, &tls.Config{})
	},
	"embeds the socket": func(c net.Conn) net.Conn {
		switch c := c.(type) {
		case *net.UnixConn:
			return &embedsUnix{c}
		case *net.TCPConn:
			return &embedsTCP{c}
		}
		return c
	},
}

func TestPeerOfFindsTheSocketUnderLayers(t *testing.T) {
	t.Parallel()
	socket, tcp := peerSocket(t), peerPair(t, "tcp", "127.0.0.1:0")
	for name, layer := range peerLayers {
		if got, ok := listeners.PeerOf(layer(socket)); !ok || got != peerMyself() {
			t.Errorf("%s: got %+v, %t", name, got, ok)
		}
		if got, ok := listeners.PeerFrom(listeners.WithPeer(t.Context(), layer(socket))); !ok || got != peerMyself() {
			t.Errorf("%s: the context has %+v, %t", name, got, ok)
		}
		if got, ok := listeners.PeerOf(layer(tcp)); ok {
			t.Errorf("%s: TCP has the peer %+v", name, got)
		}
		if listeners.WithPeer(t.Context(), layer(tcp)) != t.Context() {
			t.Errorf("%s: TCP changes the context", name)
		}
	}
}

func TestPeerOfWhatIsNoUnixSocket(t *testing.T) {
	t.Parallel()
	pipe, other := net.Pipe()
	defer pipe.Close()
	defer other.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for name, conn := range map[string]net.Conn{
		"nil":                        nil,
		"TCP":                        peerPair(t, "tcp", "127.0.0.1:0"),
		"UDP":                        udp.(*net.UDPConn),
		"a pipe":                     pipe,
		"TLS on a pipe":              tls.Server(pipe, &tls.Config{}),
		"a layer in itself":          containsItself{},
		"a layer around nil":         hasNetConn{},
		"a layer that embeds nil":    embedsConn{},
		"one that embeds nobody":     embedsPointer{},
		"a nil layer":                (*embedsConn)(nil),
		"a layer that gives nothing": contentless{hidden{inner: peerSocket(t)}},
		"a field of another kind":    named{hidden: hidden{inner: peerSocket(t)}},
	} {
		if got, ok := listeners.PeerOf(conn); ok {
			t.Errorf("%s: got %+v", name, got)
		}
		if got, ok := listeners.PeerFrom(listeners.WithPeer(t.Context(), conn)); ok {
			t.Errorf("%s: the context has %+v", name, got)
		}
	}
	if got, ok := listeners.PeerFrom(t.Context()); ok {
		t.Errorf("a context of no connection has the peer %+v", got)
	}
}

// What was found out stays, also when the connection is closed.
func TestPeerFromAsksOnce(t *testing.T) {
	t.Parallel()
	conn := peerSocket(t)
	asked := listeners.WithPeer(t.Context(), conn)
	late := listeners.WithPeer(t.Context(), conn)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, ok := listeners.PeerFrom(asked); !ok || got != peerMyself() {
				t.Errorf("got %+v, %t", got, ok)
			}
		})
	}
	all.Wait()
	conn.Close()
	if got, ok := listeners.PeerFrom(asked); !ok || got != peerMyself() {
		t.Errorf("after the end: got %+v, %t", got, ok)
	}
	if got, ok := listeners.PeerFrom(late); ok {
		t.Errorf("first asked after the end: got %+v", got)
	}
}

// Connections of other kinds pay nothing for it.
func TestWithPeerAllocatesNothingForTCP(t *testing.T) {
	tcp := peerPair(t, "tcp", "127.0.0.1:0")
	if n := testing.AllocsPerRun(100, func() { listeners.WithPeer(context.Background(), tcp) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPeerOf(b *testing.B) {
	conn := peerSocket(b)
	b.ReportAllocs()
	for b.Loop() {
		listeners.PeerOf(conn)
	}
}

func BenchmarkPeerFrom(b *testing.B) {
	ctx := listeners.WithPeer(b.Context(), peerSocket(b))
	b.ReportAllocs()
	for b.Loop() {
		listeners.PeerFrom(ctx)
	}
}

func BenchmarkWithPeer(b *testing.B) {
	for network, conn := range map[string]net.Conn{"unix": peerSocket(b), "tcp": peerPair(b, "tcp", "127.0.0.1:0")} {
		b.Run(network, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				listeners.WithPeer(b.Context(), conn)
			}
		})
	}
}
