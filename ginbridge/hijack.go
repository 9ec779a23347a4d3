package ginbridge

import (
	"io"
	"net"
	"runtime"
	"sync"
)

// hijack is a connection that a handler took over. It counts as a user of its
// generation until the handler closes it.
type hijack struct {
	gen  *Generation
	conn net.Conn
	once sync.Once
}

// end counts the connection out. It may be called often.
func (h *hijack) end() {
	h.once.Do(func() {
		h.gen.mu.Lock()
		delete(h.gen.hijacks, h)
		h.gen.mu.Unlock()
		h.gen.done()
	})
}

// hijackedConn is what the handler gets.
type hijackedConn struct {
	net.Conn
	hijack *hijack
}

// trackHijack counts conn in, as long as the request it came from still holds
// the generation. A connection that the app forgets without closing it counts
// until the garbage collector finds it, as the runtime closes it then.
func (g *Generation) trackHijack(conn net.Conn) *hijackedConn {
	h := &hijack{gen: g, conn: conn}
	g.refs.Add(1)
	g.mu.Lock()
	g.hijacks[h] = struct{}{}
	g.mu.Unlock()
	c := &hijackedConn{conn, h}
	runtime.AddCleanup(c, (*hijack).end, h)
	return c
}

// Close closes the connection and counts it out.
func (c *hijackedConn) Close() error {
	err := c.Conn.Close()
	c.hijack.end()
	return err
}

// NetConn returns the connection beneath, as that of [crypto/tls.Conn] does,
// for those who need its own type.
func (c *hijackedConn) NetConn() net.Conn { return c.Conn }

// Read and Write keep c alive while they last: it may be the app's last
// reference to the connection.

// Read reads from the connection.
func (c *hijackedConn) Read(b []byte) (int, error) {
	defer runtime.KeepAlive(c)
	return c.Conn.Read(b)
}

// Write writes to the connection.
func (c *hijackedConn) Write(b []byte) (int, error) {
	defer runtime.KeepAlive(c)
	return c.Conn.Write(b)
}

// ReadFrom lets io.Copy find the fast paths of the connection beneath.
func (c *hijackedConn) ReadFrom(r io.Reader) (int64, error) {
	defer runtime.KeepAlive(c)
	return io.Copy(c.Conn, r)
}

// WriteTo lets io.Copy find the fast paths of the connection beneath.
func (c *hijackedConn) WriteTo(w io.Writer) (int64, error) {
	defer runtime.KeepAlive(c)
	return io.Copy(w, c.Conn)
}

// Interface guards
var (
	_ net.Conn      = (*hijackedConn)(nil)
	_ io.ReaderFrom = (*hijackedConn)(nil)
	_ io.WriterTo   = (*hijackedConn)(nil)
)
