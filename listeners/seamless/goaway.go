package seamless

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// goAwayLimit is how long a client may take to acknowledge that it will begin
// no more requests.
const goAwayLimit = 2 * time.Second

// goAwaySettle is how long requests are taken after the acknowledgement: a
// client may have numbered one before it, and send it after.
const goAwaySettle = 100 * time.Millisecond

// goAwayPing tells its acknowledgement from others.
var goAwayPing = [8]byte{'g', 'o', ' ', 'a', 'w', 'a', 'y', '.'}

// goAwayFirst asks a client for no more requests, and to acknowledge that.
// goAwayLast is what a client that leaves says: for it, a server sends a GOAWAY
// with the last stream, finishes the streams and closes the connection.
var (
	goAwayFirst = framesOf(func(f *http2.Framer) error {
		return errors.Join(f.WriteGoAway(1<<31-1, http2.ErrCodeNo, nil), f.WritePing(false, goAwayPing))
	})
	goAwayLast = framesOf(func(f *http2.Framer) error {
		return f.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
)

// framesOf returns what write writes.
func framesOf(write func(*http2.Framer) error) []byte {
	var b bytes.Buffer
	if err := write(http2.NewFramer(&b, nil)); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// goAway tells the clients of all HTTP/2 connections, and of those to come, to
// make their requests elsewhere, and closes each connection after its requests.
// No request is lost (RFC 9113, 6.8): first clients learn that they shall begin
// no more, and then, when they have, which was the last. Other connections are
// left alone. It does not wait, and may be called more than once, by several
// goroutines.
func (e *epoch) goAway() {
	if e.http2 != nil {
		e.http2.goAway()
	}
}

// http2Conns serves the HTTP/2 connections of an epoch.
type http2Conns struct {
	base   *http.Server // the epoch's; constant
	server http2.Server //nolint:staticcheck // it has no successor that net/http uses for other connections; constant

	mu      sync.Mutex // guards the rest
	conns   map[*http2Conn]struct{}
	leaving bool
}

// newHTTP2Conns has an http.Server pass its HTTP/2 connections on.
func newHTTP2Conns(base *http.Server) *http2Conns {
	s := &http2Conns{base: base, conns: make(map[*http2Conn]struct{})}
	_ = http2.ConfigureServer(base, &s.server) //nolint:staticcheck // see the field
	base.TLSNextProto[http2.NextProtoTLS] = func(_ *http.Server, conn *tls.Conn, h http.Handler) {
		c := &http2Conn{Conn: conn, in: newFramesOfClient()}
		s.serve(c, tlsHTTP2Conn{c, conn}, h)
	}
	// what net/http calls with a connection without TLS inside of one with
	// it, after it has read the client's preface
	base.TLSNextProto["unencrypted_http2"] = func(_ *http.Server, conn *tls.Conn, h http.Handler) {
		if inside, ok := conn.NetConn().(interface{ UnencryptedNetConn() net.Conn }); ok {
			c := &http2Conn{Conn: inside.UnencryptedNetConn()}
			s.serve(c, c, h)
		}
	}
	return s
}

// serve serves a connection until it ends, as the functions that
// [http2.ConfigureServer] sets do; conn is c, or c with its TLS.
func (s *http2Conns) serve(c *http2Conn, conn net.Conn, h http.Handler) {
	s.add(c)
	defer s.remove(c)
	var ctx context.Context
	if h, ok := h.(interface{ BaseContext() context.Context }); ok {
		ctx = h.BaseContext()
	}
	s.server.ServeConn(conn, &http2.ServeConnOpts{ //nolint:staticcheck // see the field
		Context: ctx, Handler: h, BaseConfig: s.base, SawClientPreface: c.in.left == 0,
	})
}

func (s *http2Conns) add(c *http2Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	if s.leaving {
		c.goAway()
	}
}

func (s *http2Conns) remove(c *http2Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.timer != nil {
		c.timer.Stop()
	}
}

func (s *http2Conns) goAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return
	}
	s.leaving = true
	for c := range s.conns {
		c.goAway()
	}
}

// http2Conn is a connection into whose frames others can be put, in both
// directions. One goroutine may read at a time.
type http2Conn struct {
	net.Conn
	timer *time.Timer // ends the time for acknowledging; constant from when told is set
	told  atomic.Bool // goAway was called
	last  atomic.Bool // goAwayLast is to be read next

	in      frames // that have been read; the reader's, like the next two
	settled bool   // the timer runs for goAwaySettle
	unread  []byte // what is left of goAwayLast

	mu    sync.Mutex // held while writing; guards the rest
	out   frames     // that have been written
	first bool       // goAwayFirst is to be written next
}

// tlsHTTP2Conn shows that the connection is encrypted.
type tlsHTTP2Conn struct {
	*http2Conn
	tls *tls.Conn
}

// ConnectionState implements what the HTTP/2 server looks for.
func (c tlsHTTP2Conn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// goAway begins with the first GOAWAY. The mutex of the http2Conns must be
// held.
func (c *http2Conn) goAway() {
	c.timer = time.AfterFunc(goAwayLimit, c.sayLast)
	c.told.Store(true)
	go c.sayFirst() // the client may not be reading
}

// sayFirst has goAwayFirst written at once, or by the Write that comes to the
// end of a frame.
func (c *http2Conn) sayFirst() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first = true
	_ = c.writeFirst()
}

// writeFirst writes goAwayFirst, if it is time for that. A server that says
// which stream is the last must not raise it. The mutex must be held.
func (c *http2Conn) writeFirst() error {
	if !c.first || !c.out.between() {
		return nil
	}
	c.first = false
	if c.out.gone {
		return nil
	}
	_, err := c.Conn.Write(goAwayFirst)
	if err != nil {
		_ = c.Close() // there may be half a frame
	}
	return err
}

// Write implements [net.Conn].
func (c *http2Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	written := 0
	for c.first && written < len(p) {
		end := c.out
		n, err := c.write(p[written : written+end.next(p[written:])])
		written += n
		if err == nil {
			err = c.writeFirst()
		}
		if err != nil {
			return written, err
		}
	}
	if written == len(p) {
		return written, nil
	}
	n, err := c.write(p[written:])
	return written + n, err
}

// write writes and follows. The mutex must be held.
func (c *http2Conn) write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	for p = p[:n]; len(p) > 0; {
		p = p[c.out.next(p):]
	}
	return n, err
}

// sayLast has goAwayLast read, in place of what the reader waits for.
func (c *http2Conn) sayLast() {
	c.last.Store(true)
	_ = c.SetReadDeadline(time.Unix(1, 0))
}

// Read implements [net.Conn].
func (c *http2Conn) Read(p []byte) (int, error) {
	for {
		if c.last.Load() && c.in.between() && c.last.CompareAndSwap(true, false) {
			c.unread = goAwayLast
		}
		if len(c.unread) > 0 {
			n := copy(p, c.unread)
			c.unread = c.unread[n:]
			return n, nil
		}
		n, err := c.Conn.Read(p)
		c.follow(p[:n])
		if err == nil || !c.told.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		// only sayLast sets a deadline in the past
		_ = c.SetReadDeadline(time.Time{})
		if n > 0 {
			return n, nil
		}
	}
}

// follow follows what was read, and looks for the acknowledgement.
func (c *http2Conn) follow(p []byte) {
	for len(p) > 0 {
		p = p[c.in.next(p):]
		if !c.settled && c.in.acked(goAwayPing) && c.told.Load() {
			c.settled = true
			c.timer.Reset(goAwaySettle)
		}
	}
}
