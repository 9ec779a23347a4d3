package seamless

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// epoch is a time during which the settings of an address did not change: an
// http.Server with its connections.
type epoch struct {
	front    *front   // constant
	settings settings // constant
	server   *http.Server
	inbox    *inbox      // connections that listeners of other epochs have accepted
	http2    *http2Conns // constant; nil without HTTP/2

	listeners int          // that are being served; guarded by the registry's mutex
	closing   bool         // it is being shut down; guarded likewise
	conns     atomic.Int64 // open connections that were not hijacked

	movables  movables
	departure atomic.Pointer[departure] // not nil once the process gives its connections away

	quic struct {
		sync.Mutex
		conns *http3Conns // nil until there is one
	}
}

// settings are what a connection gets from the server that accepted it.
type settings struct {
	tls, http1, http2             bool
	policies                      string
	read, readHeader, write, idle time.Duration
	maxHeaderBytes                int
}

func settingsOf(server *http.Server, at address, policies string) settings {
	return settings{
		tls: at.tls, http1: at.http1, http2: at.http2, policies: policies,
		read: server.ReadTimeout, readHeader: server.ReadHeaderTimeout,
		write: server.WriteTimeout, idle: server.IdleTimeout,
		maxHeaderBytes: server.MaxHeaderBytes,
	}
}

// newEpoch mirrors the http.Server that Caddy made.
func newEpoch(f *front, s settings, caddy *http.Server) *epoch {
	e := &epoch{front: f, settings: s}
	e.server = &http.Server{
		Handler:           e,
		ReadTimeout:       s.read,
		ReadHeaderTimeout: s.readHeader,
		WriteTimeout:      s.write,
		IdleTimeout:       s.idle,
		MaxHeaderBytes:    s.maxHeaderBytes,
		ErrorLog:          f.errorLog,
		HTTP2:             caddy.HTTP2,
		Protocols:         new(http.Protocols),
		TLSNextProto:      make(map[string]func(*http.Server, *tls.Conn, http.Handler)),
		ConnState:         e.connState,
		ConnContext:       e.connContext,
	}
	e.inbox = newInbox(f)
	e.server.Protocols.SetHTTP1(s.http1)
	if s.http2 {
		// as Caddy does: with TLS, ALPN decides
		e.server.Protocols.SetUnencryptedHTTP2(true)
		e.http2 = newHTTP2Conns(e.server)
	}
	go func() { _ = e.server.Serve(e.inbox) }() // until it is closed
	return e
}

// ServeHTTP passes a request to the server of the current configuration. Where
// that has other settings, see endAfter; with other TLS connection policies, the
// connection ends and the request is not served.
func (e *epoch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d := e.departure.Load(); d != nil && !d.moves(e, r) {
		endAfter(w, r)
	}
	m := e.front.current.Load()
	switch {
	case m == nil:
		e.serveSuccessor(w, r, nil)
		return
	case m.replaced.Load():
		e.serveSuccessor(w, r, m)
		return
	case m.epoch == e:
	case m.wrapper.policies != e.settings.policies:
		misdirected(w, r)
		return
	default:
		endAfter(w, r)
	}
	if m.altSvc != nil && r.ProtoMajor < 3 {
		w.Header()["Alt-Svc"] = m.altSvc // with room for no other, so that nobody appends to it
	}
	m.ServeHTTP(w, r)
}

// endAfter has an HTTP/1 connection end with the answer. Later versions go on
// until they are idle: Go's GOAWAY loses requests that are on their way.
func endAfter(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// ServeHTTP passes a request to the member's server.
func (m *member) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if m.users != nil && m.users.Acquire() {
		defer m.users.Release()
	}
	m.wrapper.server.ServeHTTP(w, r)
}

// connState counts connections.
func (e *epoch) connState(conn net.Conn, state http.ConnState) {
	if m := movableOf(conn); m != nil {
		m.follow(e, state)
	}
	switch state {
	case http.StateNew:
		e.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		e.lost()
	}
}

// lost counts a connection out.
func (e *epoch) lost() {
	if e.conns.Add(-1) > 0 {
		return
	}
	if m := e.front.current.Load(); m == nil || m.epoch != e {
		fronts.ended(e)
	}
}

// http3 returns the connections over QUIC.
func (e *epoch) http3() *http3Conns {
	e.quic.Lock()
	defer e.quic.Unlock()
	if e.quic.conns == nil {
		e.quic.conns = newHTTP3Conns(e)
	}
	return e.quic.conns
}

// takeHTTP3 returns a front's connections over QUIC, to end them. The registry's
// mutex must be held.
func (f *front) takeHTTP3() []*http3Conns {
	var taken []*http3Conns
	for _, e := range f.epochs {
		e.quic.Lock()
		if e.quic.conns != nil {
			taken = append(taken, e.quic.conns)
			e.quic.conns = nil
		}
		e.quic.Unlock()
	}
	return taken
}

// shutDownHTTP3 ends connections over QUIC after their requests, or after the
// grace period, if there is one.
func shutDownHTTP3(taken []*http3Conns, grace time.Duration) {
	ctx, cancel := within(grace)
	defer cancel()
	var wg sync.WaitGroup
	for _, conns := range taken {
		wg.Go(func() { _ = conns.Shutdown(ctx) })
	}
	wg.Wait()
}

// connContext runs the functions that modules of the current configuration
// have registered for new connections. Peers of Unix sockets are asked for by
// later configurations too.
func (e *epoch) connContext(ctx context.Context, conn net.Conn) context.Context {
	if m := e.front.current.Load(); m != nil && m.caddy.ConnContext != nil {
		ctx = m.caddy.ConnContext(ctx, conn)
	}
	if m := movableOf(conn); m != nil {
		ctx = context.WithValue(ctx, movableKey{}, m)
	}
	return listeners.WithPeer(ctx, conn)
}
