package listeners

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// localhost is what the name means whatever a resolver says (RFC 6761,
// section 6.3).
var localhost = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// resolve returns what the kernel has to bind for an address of an IP network:
// at least one target. It may ask a name server.
func (a Address) resolve(ctx context.Context, port uint16) ([]Target, error) {
	if a.Host == "" {
		return a.wildcard(port)
	}
	ips, err := a.lookup(ctx)
	if err != nil {
		return nil, err
	}
	targets := make([]Target, len(ips))
	for i, ip := range ips {
		targets[i] = Target{Network: "tcp", Addr: netip.AddrPortFrom(ip, port), V6Only: ip.Is6(), Device: a.Options["device"].Text}
	}
	return targets, nil
}

// wildcard returns the targets for all addresses of the network's families.
func (a Address) wildcard(port uint16) ([]Target, error) {
	device := a.Options["device"].Text
	v4 := Target{Network: "tcp", Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Device: device}
	v6 := Target{Network: "tcp", Addr: netip.AddrPortFrom(netip.IPv6Unspecified(), port), Device: device, V6Only: true}
	if a.Network == IPv4 {
		return []Target{v4}, nil
	}
	if !a.Options.on("freebind") {
		if err := ipv6Usable(); err != nil {
			return nil, Diagnose(v6, err)
		}
	}
	switch {
	case a.Network == IPv6:
		return []Target{v6}, nil
	case !dualStack:
		return []Target{v4, v6}, nil
	}
	v6.V6Only = false
	return []Target{v6}, nil
}

// lookup returns the addresses that a host stands for in the network's
// families.
func (a Address) lookup(ctx context.Context) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		return []netip.Addr{ip}, nil
	}
	what := "host " + a.Host
	var ips []netip.Addr
	if strings.EqualFold(a.Host, "localhost") {
		ips = localhost
	} else if card, err := net.InterfaceByName(a.Host); err == nil {
		what = "interface " + a.Host
		if ips, err = interfaceAddrs(card); err != nil {
			return nil, fmt.Errorf("reading the addresses of %s: %w", what, err)
		}
	} else if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", a.Host); err != nil {
		return nil, fmt.Errorf("%q is no interface (there are %s) and no host name that resolves: %w", a.Host, list(interfaceNames()), err)
	}
	return a.ofFamily(what, ips)
}

// ofFamily keeps the addresses of the network's families, each once.
func (a Address) ofFamily(what string, ips []netip.Addr) ([]netip.Addr, error) {
	var has4, has6 bool
	var kept []netip.Addr
	for _, ip := range ips {
		ip = ip.Unmap()
		has4, has6 = has4 || ip.Is4(), has6 || ip.Is6()
		if a.Network == Dual || a.Network == family(ip) {
			kept = append(kept, ip)
		}
	}
	for _, want := range []struct {
		network, name string
		has           bool
	}{{IPv4, "IPv4", has4}, {IPv6, "IPv6", has6}} {
		if !want.has && (a.Network == want.network || a.Network == Dual) {
			return nil, &familyError{what: what, family: want.name, ips: ips}
		}
	}
	slices.SortFunc(kept, netip.Addr.Compare)
	return slices.Compact(kept), nil
}

// familyError is a host without an address of a family that is asked for.
type familyError struct {
	what, family string
	ips          []netip.Addr
}

func (e *familyError) Error() string {
	if len(e.ips) == 0 {
		return fmt.Sprintf("%s has no %s address, and no other; retry=10s waits for one", e.what, e.family)
	}
	texts := make([]string, len(e.ips))
	for i, ip := range e.ips {
		texts[i] = ip.Unmap().String()
	}
	return fmt.Sprintf("%s has no %s address, only %s; retry=10s waits for one", e.what, e.family, list(texts))
}

// interfaceAddrs returns the addresses of an interface; those that are valid
// on its link only, with its zone.
func interfaceAddrs(card *net.Interface) ([]netip.Addr, error) {
	addrs, err := card.Addrs()
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	for _, addr := range addrs {
		prefix, err := netip.ParsePrefix(addr.String())
		if err != nil {
			continue
		}
		ip := prefix.Addr().Unmap()
		if ip.Is6() && ip.IsLinkLocalUnicast() {
			ip = ip.WithZone(card.Name)
		}
		ips = append(ips, ip)
	}
	return ips, nil
}

// interfaceNames returns the names of the interfaces.
func interfaceNames() []string {
	cards, _ := net.Interfaces()
	names := make([]string, len(cards))
	for i, card := range cards {
		names[i] = card.Name
	}
	return names
}
