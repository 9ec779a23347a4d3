package seamless

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// movable is a connection without TLS that can be given to another process
// between two requests, without its client noticing.
//
// That is safe only while net/http waits in Read for a request of which nothing
// has been read: on a new connection, or after it called ConnState with
// StateIdle and SetReadDeadline once, with an empty buffer. The Read that waits
// is the one place from which a connection is given away: whoever wants that
// interrupts it.
type movable struct {
	conn   net.Conn // what is closed; constant
	socket socket   // the same without what package listeners puts around it; constant
	epoch  *epoch   // constant from StateNew

	state atomic.Uint32

	// those belong to the goroutine that net/http reads in
	deadline time.Time     // of the Read that can be interrupted
	known    bool          // that the connection is one of HTTP/1, or is not
	matched  int           // bytes of http2Preface that it began with
	adopted  bool          // by Give, and nothing was read since
	patience time.Duration // for the first request of an adopted connection; 0 is no limit

	mu      sync.Mutex // held while the state is set to and from stealing, with the deadline
	closing bool       // Close was called while somebody stole; guarded by mu
}

// socket is a [net.TCPConn] or a [net.UnixConn].
type socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// The states of a movable connection. Only interrupt goes from reading to
// another one without being the goroutine that net/http reads in.
const (
	fresh    = iota // nothing was read yet
	busy            // with a request
	idle            // StateIdle was announced
	waiting         // and SetReadDeadline called: Read comes next
	reading         // in a Read that may be interrupted
	stealing        // in a Read that is being interrupted, or gives the connection away
	pinned          // never to be moved
	moved           // another process has it
)

// bufferSize is how much net/http asks for while its buffer is empty.
const bufferSize = 4096

// http2Preface is what HTTP/2 with prior knowledge begins with, and no HTTP/1.
const http2Preface = "PRI * HTTP/2"

// Connections keep the methods of their kinds: net/http and others look for
// some of them. Those of movable, which is less deep, come first.
type (
	movableTCP struct {
		movable
		tcpSocket
	}
	movableUnix struct {
		movable
		unixSocket
	}
	tcpSocket  struct{ *net.TCPConn }
	unixSocket struct{ *net.UnixConn }
)

// makeMovable returns a connection that can be moved, or conn itself if it is
// of an unknown kind, such as one with TLS, or made by another listener wrapper.
func makeMovable(conn net.Conn) net.Conn {
	bare, _ := listeners.Bare(conn)
	switch s := bare.(type) {
	case *net.TCPConn:
		return &movableTCP{movable{conn: conn, socket: s}, tcpSocket{s}}
	case *net.UnixConn:
		return &movableUnix{movable{conn: conn, socket: s}, unixSocket{s}}
	}
	return conn
}

// movableOf returns what makeMovable made, or nil.
func movableOf(conn net.Conn) *movable {
	switch c := conn.(type) {
	case *movableTCP:
		return &c.movable
	case *movableUnix:
		return &c.movable
	}
	return nil
}

// follow is told of the connection's states by net/http.
func (m *movable) follow(e *epoch, state http.ConnState) {
	switch state {
	case http.StateNew:
		m.epoch = e
		if e.settings.tls || !e.settings.http1 {
			m.state.Store(pinned)
		} else if m.adopted {
			m.deadline = e.idleDeadline()
			_ = m.socket.SetReadDeadline(m.deadline)
		}
		e.movables.add(m)
	case http.StateIdle:
		m.state.CompareAndSwap(busy, idle)
	case http.StateActive:
		m.begin()
	case http.StateHijacked:
		m.state.Store(pinned)
		e.movables.remove(m)
	case http.StateClosed:
		e.movables.remove(m)
	}
}

// begin ends that the connection is idle.
func (m *movable) begin() {
	if s := m.state.Load(); s == idle || s == waiting {
		m.state.CompareAndSwap(s, busy)
	}
}

// Read reads as from any connection. When the connection was given away, the
// error is [io.EOF].
func (m *movable) Read(p []byte) (int, error) {
	switch m.state.Load() {
	case fresh:
		return m.readFirst(p)
	case waiting:
		if len(p) >= bufferSize {
			return m.readIdle(p)
		}
		m.begin() // a part of the request is in the buffer
	case moved:
		return 0, io.EOF
	}
	n, err := m.socket.Read(p)
	if !m.known {
		m.recognise(p[:n])
	}
	return n, err
}

// readFirst is Read on a new connection.
func (m *movable) readFirst(p []byte) (int, error) {
	n, err := m.readIdle(p)
	if n > 0 && m.adopted {
		m.adopted = false
		_ = m.socket.SetReadDeadline(after(m.patience))
	}
	m.recognise(p[:n])
	return n, err
}

// readIdle is a Read that may be interrupted.
func (m *movable) readIdle(p []byte) (int, error) {
	m.state.Store(reading)
	d := m.epoch.departure.Load()
	if d != nil && d.plain(m.epoch.front.key) {
		if m.state.CompareAndSwap(reading, stealing) {
			return m.giveAway(p, d)
		}
	}
	n, err := m.socket.Read(p)
	switch {
	case m.state.CompareAndSwap(reading, busy):
		return n, err
	case n > 0 || !errors.Is(err, os.ErrDeadlineExceeded):
		m.keep(busy)
		return n, err
	}
	return m.giveAway(p, m.epoch.departure.Load())
}

// interrupt has the Read that waits give the connection away, if there is one
// that may be interrupted. The epoch must have a departure.
func (m *movable) interrupt() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.CompareAndSwap(reading, stealing) {
		_ = m.socket.SetReadDeadline(past)
	}
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// giveAway gives the connection to another process. If that fails, it stays for
// good, and giveAway reads on.
func (m *movable) giveAway(p []byte, d *departure) (int, error) {
	if err := d.give(m.epoch.front.key, m.socket); err != nil {
		m.keep(pinned)
		return m.socket.Read(p)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.Store(moved)
	return 0, io.EOF
}

// keep undoes interrupt.
func (m *movable) keep(state uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.socket.SetReadDeadline(m.deadline)
	m.state.Store(state)
	if m.closing {
		_ = m.conn.Close()
	}
}

// recognise looks for HTTP/2 in the first bytes of a connection.
func (m *movable) recognise(b []byte) {
	n := min(len(b), len(http2Preface)-m.matched)
	m.known = string(b[:n]) != http2Preface[m.matched:m.matched+n]
	if m.matched += n; !m.known && m.matched == len(http2Preface) {
		m.known = true
		m.state.Store(pinned)
	}
}

// SetReadDeadline implements [net.Conn].
func (m *movable) SetReadDeadline(t time.Time) error {
	if m.deadlineSet(t) {
		return nil
	}
	return m.socket.SetReadDeadline(t)
}

// SetDeadline implements [net.Conn].
func (m *movable) SetDeadline(t time.Time) error {
	if m.deadlineSet(t) {
		return m.socket.SetWriteDeadline(t)
	}
	return m.socket.SetDeadline(t)
}

// deadlineSet keeps the deadline of the next Read in mind, if that may be
// interrupted. It is true if the deadline is to be set later: net/http takes an
// adopted connection for a new one, but its client may be as idle as before.
func (m *movable) deadlineSet(t time.Time) bool {
	switch m.state.Load() {
	case fresh:
		if !m.adopted {
			m.deadline = t
			return false
		}
		if m.patience = 0; !t.IsZero() {
			m.patience = max(time.Until(t), 1)
		}
		return true
	case idle:
		if m.state.CompareAndSwap(idle, waiting) {
			m.deadline = t
		}
	case waiting:
		m.begin()
	}
	return false
}

// Close closes the connection for this process. While the connection is being
// given away, it leaves that to the Read: there would be two readers otherwise.
func (m *movable) Close() error {
	if m.state.Load() == stealing {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.state.Load() == stealing {
			m.closing = true
			return nil
		}
	}
	return m.conn.Close()
}

// CloseWrite shuts down the writing side, unless another process has the
// connection.
func (m *movable) CloseWrite() error {
	if m.state.Load() == moved {
		return nil
	}
	return m.socket.CloseWrite()
}

// Interface guards
var (
	_ io.ReaderFrom = (*movableTCP)(nil)
	_ socket        = (*movableTCP)(nil)
	_ socket        = (*movableUnix)(nil)
)
