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
			return conn, nil
		}
		// the handshake has not begun
		if before, ok := conn.(*tls.Conn); ok && now.address.tls {
			conn = tls.Server(before.NetConn(), now.wrapper.tlsConfig())
		}
		if now.epoch == g.member.epoch {
			return conn, nil
		}
		now.epoch.inbox.put(conn)
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

// put has a connection accepted.
func (i *inbox) put(conn net.Conn) {
	select {
	case i.conns <- conn:
	case <-i.closed:
		_ = conn.Close()
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
