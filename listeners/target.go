package listeners

import (
	"net/netip"
	"strings"
)

// Target is one address as the kernel binds it.
type Target struct {
	Network string         `json:"network"`          // "tcp", "udp" or "unix"
	Addr    netip.AddrPort `json:"addr,omitzero"`    // for tcp and udp; the address may carry a zone
	V6Only  bool           `json:"v6only,omitempty"` // for an IPv6 address: not also IPv4. The unspecified IPv6 address without it is a dual-stack socket
	Device  string         `json:"device,omitempty"` // the interface that it is bound to; empty for all
	Path    string         `json:"path,omitempty"`   // for unix; starts with @ if abstract
}

// String returns the address as `ss` shows it.
func (t Target) String() string {
	if t.Path != "" {
		return t.Path
	}
	addr := t.Addr.String()
	if t.Device == "" {
		return addr
	}
	colon := strings.LastIndexByte(addr, ':')
	return addr[:colon] + "%" + t.Device + addr[colon:]
}

// Family returns the family of the socket, in words.
func (t Target) Family() string {
	switch {
	case t.Network == "unix":
		return "Unix"
	case t.Addr.Addr().Is4():
		return "IPv4"
	case t.dual():
		return "IPv4 and IPv6"
	}
	return "IPv6"
}

// dual reports whether the socket takes both families.
func (t Target) dual() bool {
	return t.Network != "unix" && t.Addr.Addr().Is6() && t.Addr.Addr().IsUnspecified() && !t.V6Only
}

// covers reports whether a connection to an address would reach the target if
// it were the only socket.
func (t Target) covers(addr netip.AddrPort) bool {
	if t.Network == "unix" || t.Addr.Port() != addr.Port() {
		return false
	}
	ip, own := addr.Addr().Unmap(), t.Addr.Addr()
	if own.IsUnspecified() {
		return t.dual() || own.Is4() == ip.Is4()
	}
	return own == ip || own.Zone() == "" && own == ip.WithZone("")
}

// overlaps reports whether two targets contend for a connection, so that the
// kernel lets both be bound only if both share.
func (t Target) overlaps(u Target) bool {
	if t.Network != u.Network || t.Network == "unix" || t.Addr.Port() != u.Addr.Port() {
		return false
	}
	if t.Device != u.Device && t.Device != "" && u.Device != "" {
		return false
	}
	return t.covers(u.Addr) || u.covers(t.Addr) || t.dual() && u.Addr.Addr().IsUnspecified() || u.dual() && t.Addr.Addr().IsUnspecified()
}

// withPort returns the target at another port.
func (t Target) withPort(port uint16) Target {
	if t.Network != "unix" {
		t.Addr = netip.AddrPortFrom(t.Addr.Addr(), port)
	}
	return t
}
