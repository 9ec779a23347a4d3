package seamless

import (
	"errors"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// address is an address of a server, as Caddy opens it.
type address struct {
	key                      string // equal for the same address of another configuration
	na                       caddy.NetworkAddress
	tls, http1, http2, http3 bool
}

// addressesOf lists the addresses for which Caddy calls WrapListener, in the
// order of caddyhttp.App.Start.
func addressesOf(server *caddyhttp.Server, app *caddyhttp.App, sets listeners.Sets) []address {
	var all []address
	for i, listen := range server.Listen {
		na, err := caddy.ParseNetworkAddress(listen)
		if err != nil {
			return nil // Caddy has complained
		}
		protocols := server.Protocols
		if server.ListenProtocols != nil && server.ListenProtocols[i] != nil {
			protocols = server.ListenProtocols[i]
		}
		has := func(protocol string) bool { return slices.Contains(protocols, protocol) }
		for offset := range na.PortRangeSize() {
			one := na.At(offset)
			tls := len(server.TLSConnPolicies) > 0 && int(one.StartPort) != httpPort(app)
			if has("h1") || has("h2") && tls || has("h2c") {
				all = append(all, address{key: keyOf(one, sets), na: one, tls: tls, http1: has("h1"), http2: has("h2") || has("h2c")})
			}
		}
	}
	return all
}

// addressesOf lists the addresses of the wrapper's server.
func (w *Wrapper) addressesOf() []address {
	all := addressesOf(w.server, w.httpApp(), setsOf(w.ctx))
	for i, at := range all {
		all[i].http3 = w.HTTP3 && at.tls && !at.na.IsUnixNetwork() && !at.na.IsFdNetwork()
	}
	return all
}

// addressesForHTTP3 lists those at which the wrapper serves HTTP/3.
func (w *Wrapper) addressesForHTTP3() []address {
	return slices.DeleteFunc(w.addressesOf(), func(at address) bool { return !at.http3 })
}

// checkHTTP3 refuses the option h3 where it cannot work.
func (w *Wrapper) checkHTTP3() error {
	if !w.HTTP3 {
		return nil
	}
	if slices.Contains(w.server.Protocols, "h3") || slices.ContainsFunc(w.server.ListenProtocols, func(protocols []string) bool {
		return slices.Contains(protocols, "h3")
	}) {
		return errors.New("seamless h3 serves HTTP/3 itself, so the server must not: set its protocols to h1 and h2 (in a Caddyfile, `protocols h1 h2` beside `listener_wrappers`)")
	}
	if len(w.server.PacketConnWrappersRaw) > 0 {
		return errors.New("seamless h3 cannot be used with packet_conn_wrappers: leave out one of the two")
	}
	for _, at := range w.addressesForHTTP3() {
		if _, err := packetAddress(at.na); err != nil {
			return err
		}
	}
	return nil
}

// keyOf returns an address without what may change while its socket stays the
// same: the mode of a Unix socket and the options, but for the device. Sets are
// those that the option use may refer to.
func keyOf(na caddy.NetworkAddress, sets listeners.Sets) string {
	switch {
	case listeners.Ours(na.Network):
		parsed, err := listeners.Parse(na.Network, na.Host)
		if err != nil {
			return na.String() // opening it will fail
		}
		if sets != nil {
			if with, err := parsed.WithSet(sets); err == nil {
				parsed = with
			}
		}
		return parsed.Key(uint16(na.StartPort))
	case na.IsUnixNetwork():
		na.Host, _, _ = strings.Cut(na.Host, "|")
	}
	return na.String()
}

// setsOf returns the named sets of options of a configuration, or nil.
func setsOf(ctx caddy.Context) listeners.Sets {
	val, err := ctx.AppIfConfigured("gin")
	if err != nil {
		return nil
	}
	sets, _ := val.(listeners.Sets)
	return sets
}

func httpPort(app *caddyhttp.App) int {
	if app == nil || app.HTTPPort == 0 {
		return caddyhttp.DefaultHTTPPort
	}
	return app.HTTPPort
}
