package seamless

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// http3Conns are an epoch's connections over QUIC. Its mutex guards the set
// and the channel.
//
// Each has an http3.Server of its own, so that it gets GOAWAY at a moment when
// no request is on its way: that server rejects what arrives after, which
// clients cannot always repeat.
type http3Conns struct {
	handler        http.Handler  // constant, like the next two
	maxHeaderBytes int           // see [http3.Server]
	idle           time.Duration // likewise

	mu     sync.Mutex
	conns  map[*http3Conn]struct{}
	ending bool
	ended  chan struct{} // closed when ending and there is none; nil if nobody waits
}

func newHTTP3Conns(e *epoch) *http3Conns {
	return &http3Conns{
		handler: e, maxHeaderBytes: e.settings.maxHeaderBytes, idle: e.settings.idle,
		conns: make(map[*http3Conn]struct{}),
	}
}

// serve serves a connection until it ends.
func (s *http3Conns) serve(conn *quic.Conn) {
	c := &http3Conn{handler: s.handler}
	c.end, c.cut = context.WithCancel(context.Background())
	c.server.Handler = c
	c.server.MaxHeaderBytes = s.maxHeaderBytes
	c.server.IdleTimeout = s.idle
	s.mu.Lock()
	s.conns[c] = struct{}{}
	if s.ending {
		c.leave()
	}
	s.mu.Unlock()
	// what goes wrong is the client's affair
	if err := c.server.ServeQUICConn(conn); err != nil {
		_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	}
	c.gone()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.ended != nil {
		close(s.ended)
		s.ended = nil
	}
}

// Shutdown ends connections after their requests, or when the context is done,
// and waits. Those that come later end too.
func (s *http3Conns) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.ending = true
	for c := range s.conns {
		c.leave()
	}
	if len(s.conns) > 0 && s.ended == nil {
		s.ended = make(chan struct{})
	}
	ended := s.ended
	s.mu.Unlock()
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		_ = s.Close()
		return ctx.Err()
	}
}

// Close closes connections at once.
func (s *http3Conns) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	for c := range s.conns {
		go func() { _ = c.server.Close() }() // it waits for handlers
	}
	return nil
}

// http3Conn is a connection. Its mutex guards the fields from active on.
type http3Conn struct {
	handler http.Handler
	server  http3.Server
	end     context.Context // canceled by cut
	cut     context.CancelFunc

	mu      sync.Mutex
	active  int // requests
	leaving bool
	told    bool // it got GOAWAY
	timer   *time.Timer
}

const (
	// parting is how long a connection that is to end may be without requests
	// until it is told so, and after that until it is closed, unless the client
	// closes it.
	parting = time.Second
	// headStart is how long a request waits for the GOAWAY before it: it must
	// not arrive after the answer, as the client may then have sent another.
	headStart = 5 * time.Millisecond
)

// ServeHTTP passes a request on. If the connection is to end, the
// best moment to tell is now: most clients wait for the answer.
func (c *http3Conn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.active++
	tell := c.leaving && c.tell()
	c.mu.Unlock()
	if tell {
		time.Sleep(headStart)
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.active--; c.leaving {
			c.rest()
		}
	}()
	c.handler.ServeHTTP(w, r)
}

// leave has the connection end: with the next request, or when it has been
// quiet. If there are requests now, their answers may be on their way, so that
// GOAWAY would be late.
func (c *http3Conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leaving {
		c.leaving = true
		c.rest()
	}
}

// tell sends GOAWAY, and reports whether that is news. The mutex must be held.
func (c *http3Conn) tell() bool {
	if c.told {
		return false
	}
	c.told = true
	go func() { _ = c.server.Shutdown(c.end) }()
	return true
}

// rest sets when to look at the connection next. The mutex must be held.
func (c *http3Conn) rest() {
	after := parting
	if !c.told && caddy.Exiting() {
		after = 0 // nobody serves other connections
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(after, c.rested)
		return
	}
	c.timer.Reset(after)
}

// rested tells the client that the connection ends, or if it has been told and
// has no requests, closes it.
func (c *http3Conn) rested() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.leaving: // it has ended
	case c.tell():
		c.rest()
	case c.active == 0:
		c.cut()
	}
}

// gone releases what the connection holds.
func (c *http3Conn) gone() {
	c.cut()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = false
	if c.timer != nil {
		c.timer.Stop()
	}
}
