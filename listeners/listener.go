package listeners

import (
	"net"
	"sync"
)

// Listener is what a configuration gets for an address: a [net.Listener] over
// one socket or several. All methods may be called at once.
type Listener struct {
	req       request
	group     *group
	handles   []*handle
	keepAlive func(*net.TCPConn) // nil if Go's defaults are right

	closing sync.Once
	done    chan struct{} // closed by Close

	serving sync.Once // starts a goroutine for each of several sockets
	conns   chan accepted
}

// accepted is the result of an Accept of one socket.
type accepted struct {
	socket *socket
	conn   net.Conn
	err    error
}

// giveBack leaves the connection to another configuration.
func (a accepted) giveBack() { sockets.giveBack(a.socket, unwrap(a.conn)) }

// Accept waits for a connection. After Close, the error is [net.ErrClosed].
//
// It is as well once the configuration is over, be it replaced or refused: a
// load has returned by then, but not waited for the goroutines in which Caddy
// closes the listeners of its HTTP servers.
func (l *Listener) Accept() (net.Conn, error) {
	a := l.next()
	if a.err != nil {
		return nil, a.err
	}
	if isClosed(l.req.config) {
		_ = l.Close()
		a.giveBack()
		return nil, l.closed()
	}
	if counted, ok := a.conn.(interface{ served() }); ok {
		counted.served()
	}
	return a.conn, nil
}

// next waits for a connection of any socket.
func (l *Listener) next() accepted {
	if len(l.handles) == 1 {
		return l.accept(l.handles[0])
	}
	l.serving.Do(l.serve)
	select {
	case a := <-l.conns:
		return a
	case <-l.done:
		return accepted{err: l.closed()}
	}
}

// serve accepts from all sockets. The goroutines end with Close.
func (l *Listener) serve() {
	l.conns = make(chan accepted)
	for _, h := range l.handles {
		go func() {
			for {
				a := l.accept(h)
				select {
				case l.conns <- a:
				case <-l.done:
					if a.err == nil {
						a.giveBack()
					}
					return
				}
			}
		}()
	}
}

// accept accepts from one socket, within the limit.
func (l *Listener) accept(h *handle) accepted {
	if !h.tally.await(l.done) {
		return accepted{err: l.closed()}
	}
	conn, err := h.accept(l.done)
	if err != nil {
		if isClosed(l.done) {
			err = l.closed()
		}
		return accepted{err: err}
	}
	if !h.tally.count(l.done) {
		sockets.giveBack(h.socket, conn)
		return accepted{err: l.closed()}
	}
	if l.keepAlive != nil {
		if conn, ok := conn.(*net.TCPConn); ok {
			l.keepAlive(conn)
		}
	}
	return accepted{socket: h.socket, conn: h.tally.wrap(conn)}
}

// closed is the error of a closed listener.
func (l *Listener) closed() error {
	return &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
}

// Close ends Accept and gives the sockets up. It returns nil, also when called
// again.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		close(l.done)
		sockets.leave(l)
	})
	return nil
}

// Addr returns the address of the first socket.
func (l *Listener) Addr() net.Addr { return l.handles[0].ln.Addr() }

// Addrs returns the addresses of all sockets.
func (l *Listener) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(l.handles))
	for i, h := range l.handles {
		addrs[i] = h.ln.Addr()
	}
	return addrs
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
