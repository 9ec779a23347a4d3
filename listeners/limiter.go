package listeners

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// limiter holds the connections of an address to the number that maxconn
// allows. Its mutex guards all fields; it is held for a few instructions.
type limiter struct {
	address string

	mu     sync.Mutex
	log    *zap.Logger // of the newest configuration
	most   int64       // 0: no limit
	open   int64       // connections that were counted and are not closed
	full   bool        // the limit was reached, and said so
	hits   uint64      // how often somebody had to wait
	timer  *time.Timer // runs while full and below the limit
	change chan struct{}
}

// tally is the part of one socket in the connections of its address. The
// limiter's mutex guards it, but for what is atomic or constant.
type tally struct {
	limit    *limiter // constant
	open     int64    // connections that were counted and are not closed
	paused   uint64   // how often accepting had to wait
	accepted atomic.Uint64
}

// calm is how long nobody must have waited until the log says that the limit
// is not reached any more. A server that lives at its limit writes two lines
// in that time at most, not two per connection.
const calm = time.Second

// set makes the limit that of a listener.
func (l *limiter) set(ln *Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = ln.req.log
	l.most = ln.req.address.Options.number("maxconn")
	if l.full && l.timer == nil && l.below() {
		l.relax()
	}
	l.wake()
}

// wake lets those go on that wait. The mutex must be held.
func (l *limiter) wake() {
	if l.change != nil {
		close(l.change)
		l.change = nil
	}
}

// await waits until another connection is allowed. It is false if done is
// closed before.
func (t *tally) await(done <-chan struct{}) bool {
	return t.until(done, func() {})
}

// count counts a connection as soon as it is allowed. Several sockets of one
// address may have accepted one each while there was room for one. It is false
// if done is closed before.
func (t *tally) count(done <-chan struct{}) bool {
	return t.until(done, func() { t.open++; t.limit.open++ })
}

func (t *tally) until(done <-chan struct{}, then func()) bool {
	l := t.limit
	for waited := false; ; waited = true {
		l.mu.Lock()
		if l.below() {
			then()
			l.mu.Unlock()
			return true
		}
		if !waited {
			t.paused++
		}
		l.hits++
		if !l.full {
			l.full = true
			l.log.Warn("maxconn reached: clients wait until a connection is closed",
				zap.String("address", l.address), zap.Int64("maxconn", l.most))
		}
		if l.change == nil {
			l.change = make(chan struct{})
		}
		change := l.change
		l.mu.Unlock()
		select {
		case <-change:
		case <-done:
			return false
		}
	}
}

// release is told of the end of a connection that was counted.
func (t *tally) release() {
	l := t.limit
	l.mu.Lock()
	defer l.mu.Unlock()
	t.open--
	l.open--
	if l.full && l.timer == nil && l.below() {
		l.relax()
	}
	l.wake()
}

// below reports whether another connection is allowed. The mutex must be held.
func (l *limiter) below() bool { return l.most == 0 || l.open < l.most }

// relax has the log say that the limit is not reached any more, unless
// somebody has to wait before long. The mutex must be held.
func (l *limiter) relax() {
	hits := l.hits
	l.timer = time.AfterFunc(calm, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.timer = nil
		switch {
		case !l.below(): // release starts the timer again
		case l.hits != hits:
			l.relax()
		default:
			l.full = false
			l.log.Info("accepting freely again, below maxconn",
				zap.String("address", l.address), zap.Int64("open", l.open), zap.Int64("maxconn", l.most))
		}
	})
}

// connections returns what the tally says now.
func (t *tally) connections() *Connections {
	t.limit.mu.Lock()
	defer t.limit.mu.Unlock()
	return &Connections{Open: t.open, Accepted: t.accepted.Load(), MaxConn: t.limit.most, Paused: t.paused}
}

// wrap has the tally told of the connection's end. The connection keeps its
// kind's methods: net/http and TLS look for some of them.
func (t *tally) wrap(conn net.Conn) net.Conn {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return &countedTCP{TCPConn: conn, part: part{tally: t}}
	case *net.UnixConn:
		return &countedUnix{UnixConn: conn, part: part{tally: t}}
	}
	return &counted{Conn: conn, part: part{tally: t}}
}

// unwrap takes a connection out of the count.
func unwrap(conn net.Conn) net.Conn {
	switch c := conn.(type) {
	case *countedTCP:
		c.end()
		return c.TCPConn
	case *countedUnix:
		c.end()
		return c.UnixConn
	case *counted:
		c.end()
		return c.Conn
	}
	return conn
}

// part is a connection's part in the count.
type part struct {
	tally *tally
	over  atomic.Bool
}

// served counts the connection as handed to a server.
func (p *part) served() { p.tally.accepted.Add(1) }

// end takes it out, once.
func (p *part) end() {
	if p.over.CompareAndSwap(false, true) {
		p.tally.release()
	}
}

type countedTCP struct {
	*net.TCPConn
	part
}

// Close closes the connection.
func (c *countedTCP) Close() error {
	defer c.end()
	return c.TCPConn.Close()
}

type countedUnix struct {
	*net.UnixConn
	part
}

// Close closes the connection.
func (c *countedUnix) Close() error {
	defer c.end()
	return c.UnixConn.Close()
}

type counted struct {
	net.Conn
	part
}

// Close closes the connection.
func (c *counted) Close() error {
	defer c.end()
	return c.Conn.Close()
}
