package seamless

import (
	"net"
	"net/http"
	"reflect"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// serveSuccessor serves a request that came over a connection to an address
// which no configuration with the wrapper has any more, or only last, which is
// being stopped and serves it if nobody else does.
func (e *epoch) serveSuccessor(w http.ResponseWriter, r *http.Request, last *member) {
	endAfter(w, r)
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	fronts.mu.Lock()
	next := fronts.successor(e, local)
	fronts.mu.Unlock()
	switch {
	case next != nil:
		next.ServeHTTP(w, r)
	case last != nil && last.wrapper.policies == e.settings.policies:
		last.ServeHTTP(w, r)
	default:
		misdirected(w, r)
	}
}

// misdirected tells a client that it may repeat its request on another
// connection (RFC 9110, 15.5.20).
func misdirected(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor < 3 {
		w.Header().Set("Connection", "close")
	}
	w.WriteHeader(http.StatusMisdirectedRequest)
}

// successor returns the server for the connections of an epoch whose address
// no configuration with the wrapper has any more: that of another front which
// is bound to an address that covers it, such as 0.0.0.0 for 127.0.0.1, or one
// of the active configuration that has the address without the wrapper. It is
// nil if there is none, or if it might have other TLS connection policies. If
// local is nil, it tells whether there can be one. The mutex must be held.
func (r *registry) successor(e *epoch, local net.Addr) http.Handler {
	for _, f := range r.fronts {
		m := f.current.Load()
		if m == nil || m.replaced.Load() || m.wrapper.policies != e.settings.policies || f.port == 0 || f.port != e.front.port {
			continue
		}
		if local == nil || covers(m.ln, local) {
			return m
		}
	}
	if e.settings.tls {
		return nil // its policies cannot be compared once they are provisioned
	}
	return stockServer(e.front.key)
}

// stockServer returns the server of the active configuration that has an
// address, or nil.
func stockServer(key string) http.Handler {
	ctx := caddy.ActiveContext()
	val, err := ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	app, ok := val.(*caddyhttp.App)
	if !ok {
		return nil
	}
	for _, server := range app.Servers {
		for _, at := range addressesOf(server, app, setsOf(ctx)) {
			if at.key == key && !at.tls {
				return server
			}
		}
	}
	return nil
}

// covers reports whether a listener takes connections to a local address.
func covers(ln net.Listener, local net.Addr) bool {
	addrs := []net.Addr{ln.Addr()}
	if isTLS(ln) { // it hides what it is made of
		ln, _ = reflect.ValueOf(ln).Elem().FieldByName("Listener").Interface().(net.Listener)
	}
	if several, ok := ln.(interface{ Addrs() []net.Addr }); ok {
		addrs = several.Addrs()
	}
	to, ok := local.(*net.TCPAddr)
	if !ok {
		return false // a Unix socket has one name
	}
	for _, addr := range addrs {
		at, ok := addr.(*net.TCPAddr)
		if !ok || at.Port != to.Port {
			continue
		}
		if at.IP.Equal(to.IP) || at.IP.IsUnspecified() && (len(at.IP) == net.IPv6len || to.IP.To4() != nil) {
			return true
		}
	}
	return false
}
