package seamless

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"
)

// parked is the listener that Caddy's own server gets. Its Accept returns a
// probe, by which the member learns of that server's settings, and then
// nothing until the configuration stops.
type parked struct {
	member *member
	probed sync.Once
}

// Accept returns the probe once. After that it waits for Close; when the
// process exits, until the front has finished its requests, for which Caddy
// waits by waiting for Accept.
func (p *parked) Accept() (net.Conn, error) {
	var conn net.Conn
	p.probed.Do(func() { conn = newProbe(p.member) })
	if conn != nil {
		return conn, nil
	}
	<-p.member.stopped
	fronts.drain()
	return nil, net.ErrClosed
}

// Close has Accept return.
func (p *parked) Close() error {
	p.member.leave()
	return nil
}

// leave ends the member's part in its front.
func (m *member) leave() {
	m.stop.Do(func() {
		fronts.leave(m)
		close(m.stopped)
	})
}

// Addr returns the address of the real listener.
func (p *parked) Addr() net.Addr { return p.member.ln.Addr() }

// probe is a connection that says nothing and ends. net/http shows it to the
// server's ConnContext together with the server.
type probe struct{ member *member }

func newProbe(m *member) net.Conn {
	if isTLS(m.ln) {
		return tlsProbe{probe{m}}
	}
	return probe{m}
}

// isTLS reports whether a listener is one of crypto/tls, whose type has no
// name elsewhere.
func isTLS(ln net.Listener) bool { return reflect.TypeOf(ln) == tlsListener }

var tlsListener = reflect.TypeOf(tls.NewListener(nil, nil))

// tlsProbe is what Caddy expects of a wrapper above TLS.
type tlsProbe struct{ probe }

// ConnectionState returns nothing.
func (tlsProbe) ConnectionState() tls.ConnectionState { return tls.ConnectionState{} }

// probeAddr tells a probe from a connection, whatever Caddy wraps around it.
type probeAddr struct{ member *member }

func (probeAddr) Network() string { return "probe" }
func (probeAddr) String() string  { return "probe" }

func (p probe) Read([]byte) (int, error)         { return 0, io.EOF }
func (p probe) Write(b []byte) (int, error)      { return len(b), nil }
func (p probe) Close() error                     { return nil }
func (p probe) LocalAddr() net.Addr              { return p.member.ln.Addr() }
func (p probe) RemoteAddr() net.Addr             { return probeAddr(p) }
func (p probe) SetDeadline(time.Time) error      { return nil }
func (p probe) SetReadDeadline(time.Time) error  { return nil }
func (p probe) SetWriteDeadline(time.Time) error { return nil }

// recognise is a function of ConnContext: it finds the probe and with it the
// http.Server that Caddy made.
func recognise(ctx context.Context, conn net.Conn) context.Context {
	if addr, ok := conn.RemoteAddr().(probeAddr); ok {
		if server, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok {
			fronts.learn(addr.member, server)
		}
	}
	return ctx
}
