package listeners

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
)

// isStock reports whether a network is one of Caddy's own that can be checked.
func isStock(network string) bool {
	return slices.Contains([]string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"}, network)
}

// stock checks an address of Caddy's own networks as what it would bind:
// sockets with SO_REUSEPORT, which Caddy sets on them.
func (c checker) stock(r *Report, na caddy.NetworkAddress) {
	for port := na.StartPort; port <= na.EndPort; port++ {
		target, err := c.stockTarget(na.Network, na.Host, uint16(port))
		if err != nil {
			t := Target{Network: na.Network[:3]}
			r.Targets = append(r.Targets, TargetReport{Network: t.Network, Diagnosis: Diagnose(t, err),
				Target: net.JoinHostPort(na.Host, strconv.Itoa(int(port)))})
			continue
		}
		targets := []Target{target}
		if c.http3 && target.Network == "tcp" {
			target.Network = "udp"
			targets = append(targets, target)
		}
		r.Targets = append(r.Targets, c.sockets(targets, nil, true)...)
	}
}

// stockTarget returns what Go's net package would bind: of all addresses of a
// name one, if possible of IPv4; and a wildcard of IPv4 as one of both
// families, unless the network's name says 4.
func (c checker) stockTarget(network, host string, port uint16) (Target, error) {
	t := Target{Network: network[:3]}
	ip, err := c.stockIP("ip"+network[3:], host)
	if err != nil {
		return t, err
	}
	t.V6Only = network[3:] == "6" || ip.Is6() && !ip.IsUnspecified()
	t.Addr = netip.AddrPortFrom(ip, port)
	if !ip.IsUnspecified() || network[3:] != "" {
		return t, nil
	}
	if dualStack && ipv6Usable() == nil {
		t.Addr = netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	} else if ip.Is6() && ipv6Usable() != nil {
		t.Addr = netip.AddrPortFrom(netip.IPv4Unspecified(), port)
	}
	return t, nil
}

func (c checker) stockIP(family, host string) (netip.Addr, error) {
	switch {
	case host == "" && family == "ip6":
		return netip.IPv6Unspecified(), nil
	case host == "":
		return netip.IPv4Unspecified(), nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(c.ctx, family, host)
	if err != nil {
		return netip.Addr{}, err
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	if i := slices.IndexFunc(ips, netip.Addr.Is4); i >= 0 {
		return ips[i], nil
	}
	if len(ips) == 0 {
		return netip.Addr{}, fmt.Errorf("%q has no address", host)
	}
	return ips[0], nil
}
