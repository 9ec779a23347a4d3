package listeners

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// socket is one socket of the kernel. Its fields are guarded by the pool's
// mutex, but for those that waiting guards.
type socket struct {
	kernel
	target  Target
	options Options   // as they hold now
	shares  bool      // SO_REUSEPORT is set
	handles []*handle // newest last

	// connections that were accepted but not served, by a socket that this
	// one replaced or by a listener that closed
	waiting struct {
		sync.Mutex
		conns []net.Conn
		n     atomic.Int32
	}
}

// handle is one configuration's part in a socket.
type handle struct {
	socket  *socket
	ln      acceptor
	options Options
	req     request
	tally   *tally // of the socket in the group; set by listen
}

// acceptor is a listener whose Accept can be woken.
type acceptor interface {
	net.Listener
	SetDeadline(time.Time) error
}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// errTwice is what a configuration gets that asks twice for the same socket.
var errTwice = errors.New("this configuration listens here already, in another server or under another spelling of the address, and the kernel would deal connections out at random; write both addresses alike, options included (the redirects of auto_https have the address of the HTTPS site)")

// join makes a handle, and the options of the configuration those of the
// socket.
func (s *socket) join(req request, options Options) (*handle, error) {
	if req.config != nil && slices.ContainsFunc(s.handles, func(h *handle) bool { return h.req.config == req.config }) {
		return nil, errTwice
	}
	if err := s.change(options); err != nil {
		return nil, err
	}
	ln, err := s.listener()
	if err != nil {
		s.settle()
		return nil, fmt.Errorf("sharing the socket: %w", err)
	}
	h := &handle{socket: s, ln: ln, options: options, req: req}
	s.handles = append(s.handles, h)
	return h, nil
}

// settle gives the socket the options of its newest handle, as far as the
// system lets it: they held before.
func (s *socket) settle() {
	if len(s.handles) == 0 {
		return
	}
	options := maps.Clone(s.handles[len(s.handles)-1].options)
	for _, name := range options.changed(s.options) {
		if s.fixed(name, options) == "" && s.set(name, options) == nil {
			continue
		}
		if v, ok := s.options[name]; ok {
			options[name] = v
		} else {
			delete(options, name)
		}
	}
	s.options = options
}

// change gives the socket other options: all or none.
func (s *socket) change(options Options) error {
	changed := options.changed(s.options)
	for _, name := range changed {
		if why := s.fixed(name, options); why != "" {
			return &OptionError{Name: name, Value: options[name].Text, Err: errors.New(why)}
		}
	}
	before := s.options
	for i, name := range changed {
		if err := s.set(name, options); err != nil {
			for _, undo := range changed[:i] {
				_ = s.set(undo, before)
			}
			return &OptionError{Name: name, Value: options[name].Text, Err: err}
		}
	}
	s.options = options
	return nil
}

// setShare lets further sockets of ours overlap.
func (s *socket) setShare() error {
	if s.shares {
		return nil
	}
	err := s.share()
	s.shares = err == nil
	return err
}

// setExclusive undoes setShare, unless the operator asked for sharing.
func (s *socket) setExclusive() {
	if s.shares && !s.options.on("share") {
		s.shares = s.unshare() != nil
	}
}

// take returns a connection that waits, or nil. It takes no lock if there is
// none.
func (s *socket) take() net.Conn {
	if s.waiting.n.Load() == 0 {
		return nil
	}
	s.waiting.Lock()
	defer s.waiting.Unlock()
	if len(s.waiting.conns) == 0 {
		return nil
	}
	conn := s.waiting.conns[0]
	s.waiting.conns = s.waiting.conns[1:]
	s.waiting.n.Store(int32(len(s.waiting.conns)))
	return conn
}

// give has a connection accepted by one of the socket's handles. The pool's
// mutex must be held. It is false if there is none.
func (s *socket) give(conn net.Conn) bool {
	if len(s.handles) == 0 {
		return false
	}
	s.waiting.Lock()
	s.waiting.conns = append(s.waiting.conns, conn)
	s.waiting.n.Store(int32(len(s.waiting.conns)))
	s.waiting.Unlock()
	for _, h := range s.handles {
		_ = h.ln.SetDeadline(past) // wakes Accept
	}
	return true
}

// abandon closes what still waits.
func (s *socket) abandon() {
	for conn := s.take(); conn != nil; conn = s.take() {
		_ = conn.Close()
	}
}

// close closes the socket for good.
func (s *socket) close() {
	s.abandon()
	s.kernel.close()
}

// linger is how long a socket that is replaced waits for handshakes that have
// begun: longer than the round trip of most clients.
const linger = 500 * time.Millisecond

// retire closes a socket that others replace, after its queue has been handed
// to them through a listener, which is nil if there could be none. It runs in a
// goroutine of its own, for the time of linger.
func (s *socket) retire(p *pool, ln acceptor) {
	s.divert() // new connections go to the others at once
	if ln != nil {
		var err error
		_ = ln.SetDeadline(time.Now().Add(linger))
		conn := s.take()
		for err == nil {
			if conn != nil {
				p.mu.Lock()
				p.bequeath(conn)
				p.mu.Unlock()
			}
			if conn = s.take(); conn == nil {
				conn, err = ln.Accept()
			}
		}
		_ = ln.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.retiring, s)
	s.close()
	p.separate()
}

// port returns the port of the handle's socket.
func (h *handle) port() uint16 { return h.socket.target.Addr.Port() }

// close ends the handle's Accept.
func (h *handle) close() { _ = h.ln.Close() }

// accept waits for a connection, and while the process accepts none, until
// done is closed.
func (h *handle) accept(done <-chan struct{}) (net.Conn, error) {
	for {
		if !accepting.await(done) {
			return nil, net.ErrClosed
		}
		if conn := h.socket.take(); conn != nil {
			return conn, nil
		}
		conn, err := h.ln.Accept()
		if err == nil || !isTimeout(err) {
			return conn, err
		}
		// woken by give or by Pause: the order matters, as they set the deadline last
		_ = h.ln.SetDeadline(time.Time{})
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
