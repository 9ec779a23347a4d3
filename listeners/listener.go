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

// accepted is the result of an Accept.
type accepted struct {
	conn net.Conn
	err  error
}

// Accept waits for a connection. After Close, the error is [net.ErrClosed].
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.next()
	if counted, ok := conn.(interface{ served() }); ok {
		counted.served()
	}
	return conn, err
}

// next waits for a connection of any socket.
func (l *Listener) next() (net.Conn, error) {
	if len(l.handles) == 1 {
		return l.accept(l.handles[0])
	}
	l.serving.Do(l.serve)
	select {
	case a := <-l.conns:
		return a.conn, a.err
	case <-l.done:
		return nil, l.closed()
	}
}

// serve accepts from all sockets. The goroutines end with Close.
func (l *Listener) serve() {
	l.conns = make(chan accepted)
	for _, h := range l.handles {
		go func() {
			for {
				conn, err := l.accept(h)
				select {
				case l.conns <- accepted{conn, err}:
				case <-l.done:
					if err == nil {
						sockets.giveBack(h.socket, unwrap(conn))
					}
					return
				}
			}
		}()
	}
}

// accept accepts from one socket, within the limit.
func (l *Listener) accept(h *handle) (net.Conn, error) {
	if !h.tally.await(l.done) {
		return nil, l.closed()
	}
	conn, err := h.accept(l.done)
	if err != nil {
		if isClosed(l.done) {
			err = l.closed()
		}
		return nil, err
	}
	if !h.tally.count(l.done) {
		sockets.giveBack(h.socket, conn)
		return nil, l.closed()
	}
	if l.keepAlive != nil {
		if conn, ok := conn.(*net.TCPConn); ok {
			l.keepAlive(conn)
		}
	}
	return h.tally.wrap(conn), nil
}

// closed is the error of a closed listener.
func (l *Listener) closed() error {
	return &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: net.ErrClosed}
}

// Close ends Accept and gives the sockets up.
func (l *Listener) Close() error {
	err := net.ErrClosed
	l.closing.Do(func() {
		err = nil
		close(l.done)
		sockets.leave(l)
	})
	return err
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
