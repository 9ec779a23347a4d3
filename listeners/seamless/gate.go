package seamless

import (
	"crypto/tls"
	"net"
	"sync"
)

// gate is the listener of a member. While a configuration is being replaced,
// the one before still accepts from the same queue: those connections are for
// the current configuration, with its TLS connection policies and settings.
type gate struct {
	net.Listener
	member *member
}

// Accept returns a connection that is for the member's epoch.
func (g gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		now := g.member.front.current.Load()
		if now == nil || now == g.member {
			return makeMovable(conn), nil
		}
		// the handshake has not begun
		if before, ok := conn.(*tls.Conn); ok && now.address.tls {
			conn = tls.Server(before.NetConn(), now.wrapper.tlsConfig())
		}
		conn = makeMovable(conn)
		if now.epoch == g.member.epoch {
			return conn, nil
		}
		if !now.epoch.inbox.put(conn) {
			_ = conn.Close()
		}
	}
}

// inbox is a listener for connections that have been accepted.
type inbox struct {
	front  *front
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{} // closed by Close
}

func newInbox(f *front) *inbox {
	return &inbox{front: f, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// put has a connection accepted. It is false if the inbox is closed.
func (i *inbox) put(conn net.Conn) bool {
	select {
	case i.conns <- conn:
		return true
	case <-i.closed:
		return false
	}
}

// Accept waits for a connection.
func (i *inbox) Accept() (net.Conn, error) {
	select {
	case conn := <-i.conns:
		return conn, nil
	case <-i.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (i *inbox) Close() error {
	i.once.Do(func() { close(i.closed) })
	return nil
}

// Addr returns the name of the front.
func (i *inbox) Addr() net.Addr { return inboxAddr(i.front.key) }

type inboxAddr string

func (inboxAddr) Network() string  { return "front" }
func (a inboxAddr) String() string { return string(a) }
