package listeners

import (
	"context"
	"net"
	"reflect"
	"sync"
	"syscall"
)

// Peer is the process that opened a connection to a Unix socket, as the
// kernel vouches for it: what it was when it connected, whatever became of it
// since, and whoever it gave the connection to. If it passes on the requests
// of others, as a proxy does, it is the proxy.
type Peer struct {
	// UID and GID are the effective user and group of the process. Its
	// supplementary groups are not known. In a user namespace, those which it
	// has no number for are the kernel's overflow IDs, normally 65534.
	UID, GID int

	// PID is the number of the process, or 0 where the kernel does not tell,
	// as on FreeBSD, or between process namespaces. Another process may have
	// the number by now: it is for logs, not for decisions.
	PID int
}

// PeerOf returns the process at the other end of a connection; ok is false if
// the connection does not come through a Unix socket, is closed, or the
// platform does not tell (see [PeerSupported]).
//
// Layers around the connection are looked through: TLS, and whatever has a
// method NetConn, Unwrap or Raw that returns a net.Conn, or embeds the
// connection. It never waits for the client. Safe for concurrent use.
func PeerOf(conn net.Conn) (peer Peer, ok bool) {
	return peerOf(socketBelow(conn))
}

func peerOf(socket syscall.Conn) (peer Peer, ok bool) {
	if socket == nil {
		return Peer{}, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return Peer{}, false
	}
	if err := raw.Control(func(fd uintptr) { peer, ok = peerOfSocket(int(fd)) }); err != nil {
		return Peer{}, false
	}
	return peer, ok
}

// maxLayers bounds the search for the socket, should a layer contain itself.
const maxLayers = 32

// socketBelow returns the lowest layer of a connection that lets itself be
// asked for its descriptor, or nil if that is known not to be a Unix socket.
//
// Its addresses do not decide: a layer can make them up (PROXY protocol), and
// wait for the client until it does.
func socketBelow(conn net.Conn) (socket syscall.Conn) {
	for range maxLayers {
		switch c := conn.(type) {
		case nil:
			return socket
		case *net.UnixConn:
			return c
		case *net.TCPConn, *net.UDPConn, *net.IPConn:
			return nil
		}
		if c, ok := conn.(syscall.Conn); ok {
			socket = c
		}
		conn = below(conn)
	}
	return socket
}

// below returns the connection under a layer, or nil.
func below(conn net.Conn) net.Conn {
	switch c := conn.(type) {
	case interface{ NetConn() net.Conn }:
		return c.NetConn()
	case interface{ Unwrap() net.Conn }:
		return c.Unwrap()
	case interface{ Raw() net.Conn }:
		return c.Raw()
	}
	return embedded(conn)
}

// embedded returns the connection that a layer embeds. Most have no method
// for that, among them Caddy's own (http_redirect, and the one around every
// connection of a server without HTTP/1 or without HTTP/2).
func embedded(conn net.Conn) net.Conn {
	v := reflect.ValueOf(conn)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	for _, name := range [...]string{"Conn", "UnixConn", "TCPConn"} {
		field, ok := v.Type().FieldByName(name)
		if !ok || !field.Anonymous || !field.IsExported() {
			continue
		}
		value, err := v.FieldByIndexErr(field.Index)
		if err != nil || !value.CanInterface() {
			continue
		}
		if value.Kind() == reflect.Pointer && value.IsNil() {
			continue
		}
		if inner, ok := value.Interface().(net.Conn); ok {
			return inner
		}
	}
	return nil
}

// connPeer is the peer of one connection, looked up when first asked for: few
// requests ask, and it stays the same.
type connPeer struct {
	socket syscall.Conn
	once   sync.Once
	peer   Peer
	ok     bool
}

type peerKey struct{}

// WithPeer returns a context that knows the connection, for [PeerFrom]. It
// fits the field ConnContext of http.Server. It asks the kernel nothing, never
// waits for the client, and returns ctx itself if conn does not come through a
// Unix socket, so that other connections pay nothing.
func WithPeer(ctx context.Context, conn net.Conn) context.Context {
	socket := socketBelow(conn)
	if socket == nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, &connPeer{socket: socket})
}

// PeerFrom returns the process at the other end of the connection that ctx is
// of. ok is false as for [PeerOf], and if the context was not made by
// [WithPeer]. The kernel is asked once per connection. Safe for concurrent
// use.
func PeerFrom(ctx context.Context) (peer Peer, ok bool) {
	c, ok := ctx.Value(peerKey{}).(*connPeer)
	if !ok {
		return Peer{}, false
	}
	c.once.Do(func() { c.peer, c.ok = peerOf(c.socket) })
	return c.peer, c.ok
}
