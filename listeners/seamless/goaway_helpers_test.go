package seamless

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// goAwaySite is a listener whose connections the newest epoch serves.
type goAwaySite struct {
	net.Listener
	tls     *tls.Config // nil without
	handler http.Handler
	current atomic.Pointer[epoch]

	mu     sync.Mutex // guards the rest
	epochs []*epoch
}

// goAwayStart starts a site, with TLS or without, until the end of the test.
func goAwayStart(t testing.TB, withTLS bool, handler http.Handler) *goAwaySite {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &goAwaySite{Listener: ln, handler: handler}
	if withTLS {
		issuer := httptest.NewUnstartedServer(nil)
		issuer.EnableHTTP2 = true
		issuer.StartTLS()
		issuer.Close()
		s.tls = issuer.TLS
	}
	s.renew()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if s.tls != nil {
				conn = tls.Server(conn, s.tls)
			}
			s.current.Load().inbox.put(conn)
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-accepted
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.epochs {
			_ = e.inbox.Close()
			_ = e.server.Close()
		}
	})
	return s
}

// renew has another epoch serve new connections, and returns the one before.
func (s *goAwaySite) renew() *epoch {
	f := &front{key: s.Addr().String(), errorLog: log.New(io.Discard, "", 0)}
	e := newEpoch(f, settings{tls: s.tls != nil, http1: true, http2: true, idle: time.Minute}, new(http.Server))
	e.server.Handler = s.handler // nobody has connected
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epochs = append(s.epochs, e)
	return s.current.Swap(e)
}

// clients returns clients that each make all requests over one connection of
// HTTP/2 while they may: that of net/http, and that of x/net.
func (s *goAwaySite) clients(t testing.TB) map[string]*http.Client {
	dial := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Addr().String())
	}
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	std := &http.Transport{
		Protocols: new(http.Protocols), TLSClientConfig: config.Clone(),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	std.Protocols.SetHTTP2(s.tls != nil)
	std.Protocols.SetUnencryptedHTTP2(s.tls == nil)
	x := new(http2.Transport) //nolint:staticcheck // a client in its own right
	x.AllowHTTP = true        //nolint:staticcheck // likewise
	//nolint:staticcheck // likewise
	x.DialTLSContext = func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
		conn, err := dial(ctx)
		if err == nil && s.tls != nil {
			return tls.Client(conn, config), nil
		}
		return conn, err
	}
	t.Cleanup(func() {
		std.CloseIdleConnections()
		x.CloseIdleConnections() //nolint:staticcheck // likewise
	})
	return map[string]*http.Client{"net/http": {Transport: std}, "x/net": {Transport: x}}
}

// url returns the address of a path.
func (s *goAwaySite) url(path string) string {
	if s.tls != nil {
		return "https://" + s.Addr().String() + path
	}
	return "http://" + s.Addr().String() + path
}

// goAwayEventually waits for a condition.
func goAwayEventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30s", what)
		}
	}
}
