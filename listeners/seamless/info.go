package seamless

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// AddressInfo describes an address that the wrapper serves, or whose
// connections it still has.
type AddressInfo struct {
	// Address is the address with its port as Caddy writes it, without what
	// may change while the socket stays the same; see [listeners.SocketInfo.Key].
	Address string `json:"address"`
	// TLS tells that connections are encrypted.
	TLS bool `json:"tls"`
	// HTTP3 tells that the wrapper serves HTTP/3 too.
	HTTP3 bool `json:"http3"`
	// Connections is how many connections are open, those over QUIC included.
	// What was hijacked, such as a WebSocket over HTTP/1.1, is no longer among
	// them.
	Connections int64 `json:"connections"`
	// Carried is how many of them were open when the newest configuration took
	// the address over from another, and were carried over to it; 0 if there
	// was no other, and for those whose TLS connection policies ended.
	Carried int64 `json:"carried"`
	// CarriedTotal is the sum of Carried over all such reloads since the
	// address came up. It begins again if the address was given up in between.
	CarriedTotal uint64 `json:"carried_total"`
	// Closing is how many of the open connections will end, after a request or
	// once they are idle: those of servers that are being shut down, or have
	// other settings than that of the newest configuration.
	Closing int64 `json:"closing"`
	// Configs are the channels Done of the contexts of the configurations that
	// have the address, oldest first. Without any, it only has connections.
	Configs []<-chan struct{} `json:"-"`
}

// Serves reports whether the wrapper serves the connections of a socket.
func (a AddressInfo) Serves(s listeners.SocketInfo) bool {
	return a.Address == s.Key && len(a.Configs) > 0 && (a.HTTP3 || s.Transport != "udp")
}

// Addresses describes all addresses, sorted by Address. It takes the lock of
// the fronts for a moment, which no request takes. Safe for concurrent use.
func Addresses() []AddressInfo {
	fronts.mu.Lock()
	defer fronts.mu.Unlock()
	var infos []AddressInfo
	for _, f := range fronts.fronts {
		infos = append(infos, f.info())
	}
	slices.SortFunc(infos, func(a, b AddressInfo) int { return cmp.Compare(a.Address, b.Address) })
	return infos
}

// info describes a front. The registry's mutex must be held.
func (f *front) info() AddressInfo {
	info := AddressInfo{Address: f.key, HTTP3: f.quic != nil, Carried: f.carried, CarriedTotal: f.carriedTotal}
	now := f.current.Load()
	for _, e := range f.epochs {
		info.TLS = e.settings.tls
		n := e.conns.Load()
		info.Connections += n
		if e.closing || now == nil || e != now.epoch {
			info.Closing += n
		}
	}
	for _, m := range f.members {
		info.Configs = append(info.Configs, m.wrapper.ctx.Done())
	}
	if now != nil {
		info.TLS = now.address.tls
	}
	return info
}

// carried is the sum over all addresses, also those that are gone.
var carried atomic.Uint64

// Carried returns how many connections reloads have carried over since the
// process started. Safe for concurrent use.
func Carried() uint64 { return carried.Load() }

// carry counts the connections that a member which becomes current takes over
// from the one before, which may be nil. The registry's mutex must be held.
func (f *front) carry(before, now *member) {
	if f.carried = 0; before == nil {
		return
	}
	for _, e := range f.epochs {
		if !e.closing && e.settings.policies == now.wrapper.policies {
			f.carried += e.conns.Load()
		}
	}
	f.carriedTotal += uint64(f.carried)
	carried.Add(uint64(f.carried))
}
