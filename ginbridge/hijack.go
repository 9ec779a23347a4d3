package ginbridge

import (
	"io"
	"net"
	"runtime"
)

// hijackedConn is a connection that a handler took over, as the handler gets
// it. It counts as a user of its generation until the handler closes it.
type hijackedConn struct {
	net.Conn
	stream *stream
}

// trackHijack counts conn in, as long as the request it came from still holds
// the generation. A connection that the app forgets without closing it counts
// until the garbage collector finds it, as the runtime closes it then. When
// Options.StreamCloseDelay is over, conn is closed, but counts until its handler
// has noticed.
func (m *Mount) trackHijack(conn net.Conn) *hijackedConn {
	m.gen.refs.Add(holder)
	closeConn := func() { _ = conn.Close() }
	s := &stream{mount: m, kind: hijacked, stop: closeConn, abort: closeConn}
	s.begin()
	c := &hijackedConn{conn, s}
	runtime.AddCleanup(c, (*stream).endHijack, s)
	return c
}

// endHijack counts a connection out. It may be called often.
func (s *stream) endHijack() {
	if s.end() {
		s.mount.gen.Release()
	}
}

// Close closes the connection and counts it out.
func (c *hijackedConn) Close() error {
	err := c.Conn.Close()
	c.stream.endHijack()
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
