package storm

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// conn is a connection to the server. Only HTTP/2 and HTTP/3 allow more than
// one request at a time.
type conn interface {
	// RoundTrip makes a request, once. The caller closes the body of the answer.
	RoundTrip(*http.Request) (*http.Response, error)
	// wait waits, and returns an error if the server ends the connection meanwhile.
	// No request may be under way.
	wait(ctx context.Context, d time.Duration) error
	// usable tells whether further requests are possible.
	usable() bool
	// broken tells whether a connection that is not usable after this error of a
	// request, or nil, is so because of the server.
	broken(err error) bool
	Close() error
}

// errNotSent is the error of a request that the client did not send since it
// knew before that its connection was ending. That is no failure.
var errNotSent = errors.New("the connection is ending")

// pool has the one connection that some clients share at a time. Unlike the
// pools of libraries, it tells how each connection ended.
type pool struct {
	result *Result
	dial   func(context.Context) (conn, error)

	mu      sync.Mutex
	current *pooled
}

type pooled struct {
	conn
	begun    time.Time // when it was dialed
	users    int
	answered bool // a request; a later one is not the connection's first
	retired  bool // to be closed by its last user
}

// get returns the current connection, a new one if there is none. After use it
// must be put back.
func (p *pool) get(ctx context.Context) (*pooled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.current; c != nil && !c.usable() {
		p.retire(c, c.broken(nil))
	}
	if p.current == nil {
		begun := time.Now()
		c, err := p.dial(ctx)
		if err != nil {
			return nil, err
		}
		p.result.count(&p.result.Opened)
		p.current = &pooled{conn: c, begun: begun}
	}
	p.current.users++
	return p.current, nil
}

// wait lets time pass, and takes notice if the connection ends meanwhile.
func (p *pool) wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	p.mu.Lock()
	c := p.current
	if c != nil {
		c.users++
	}
	p.mu.Unlock()
	if c == nil {
		sleep(ctx, d)
		return
	}
	p.put(c, c.wait(ctx, d))
}

// put gives a connection back after a request that ended with err, or nil.
func (p *pool) put(c *pooled, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.users--
	c.answered = c.answered || err == nil
	if !c.usable() {
		p.retire(c, c.broken(err))
	}
	p.closeUnused(c)
}

// end gives a connection back that nobody wants any more.
func (p *pool) end(c *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.users--
	p.retire(c, false)
	p.closeUnused(c)
}

// close closes the connection if there is one. Nobody may use it.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.current; c != nil {
		p.retire(c, !c.usable() && c.broken(nil))
		p.closeUnused(c)
	}
}

func (p *pool) retire(c *pooled, byServer bool) {
	if c.retired {
		return
	}
	c.retired = true
	p.current = nil
	if byServer {
		p.result.count(&p.result.ClosedByServer)
	}
	p.closeUnused(c)
}

func (p *pool) closeUnused(c *pooled) {
	if c.retired && c.users == 0 {
		_ = c.Close()
	}
}
