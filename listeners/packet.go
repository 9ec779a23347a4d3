package listeners

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"go.uber.org/zap"
)

// packetOptions are the options that mean something to a UDP socket. The
// others are for TCP, and are ignored here.
var packetOptions = []string{"device", "freebind", "mark", "rcvbuf", "share", "sndbuf", "tos", "transparent"}

// listenPacket implements [caddy.ListenerFunc] for the counterparts of the
// networks that carry HTTP/3. Caddy keeps the socket across configurations.
func listenPacket(ctx context.Context, network, host, portRange string, portOffset uint, _ net.ListenConfig) (any, error) {
	req, err := newRequest(ctx, strings.TrimSuffix(network, "/udp"), host, portRange, portOffset)
	if err != nil {
		return nil, err
	}
	// where TCP is, if that is not where it was asked for
	port := sockets.boundPort(req.key())
	var conn *net.UDPConn
	var target Target
	if req.address.Network == Systemd {
		if target, err = activatedTarget(req.address.Host, "udp", port); err != nil {
			return nil, err
		}
		conn, err = lentPacket(req.address.Host, port)
	} else {
		conn, target, err = req.openPackets(ctx, port)
	}
	if err != nil {
		return nil, err
	}
	req.log.Info("listening", zap.String("asked", req.address.At(req.port)), zap.String("address", "udp/"+target.String()),
		zap.String("family", target.Family()), zap.Bool("v6only", target.V6Only))
	return sockets.addPackets(conn, target), nil
}

// openPackets opens the UDP socket of an address.
func (req request) openPackets(ctx context.Context, port uint16) (*net.UDPConn, Target, error) {
	targets, err := req.address.resolve(ctx, port)
	if err != nil {
		return nil, Target{}, err
	}
	for i := range targets {
		targets[i].Network = "udp"
	}
	options := make(Options)
	for _, name := range packetOptions {
		if v, ok := req.address.Options[name]; ok {
			options[name] = v
		}
	}
	target, only := targets[0], []netip.Addr(nil)
	if len(targets) > 1 {
		target, only = spanning(targets)
	}
	conn, err := openUDP(target, only, options, sockets.sharePackets(target))
	if err != nil {
		return nil, target, explain(target, err)
	}
	if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		target = target.withPort(uint16(addr.Port))
	}
	return conn, target, nil
}

// spanning returns the wildcard that covers several targets, and their
// addresses: QUIC works on one socket, which takes packets to these only.
func spanning(targets []Target) (Target, []netip.Addr) {
	only := make([]netip.Addr, len(targets))
	has4, has6 := false, false
	for i, t := range targets {
		only[i] = t.Addr.Addr()
		has4, has6 = has4 || only[i].Is4(), has6 || only[i].Is6()
	}
	any4or6, v6only := netip.IPv6Unspecified(), !has4
	if !has6 {
		any4or6, v6only = netip.IPv4Unspecified(), false
	}
	return Target{Network: "udp", Addr: netip.AddrPortFrom(any4or6, targets[0].Addr.Port()), V6Only: v6only}, only
}

// packetConn is a UDP socket that the pool knows of.
type packetConn struct {
	*net.UDPConn
	target Target
}

// Unwrap returns the socket, for which QUIC has faster ways.
func (c *packetConn) Unwrap() net.PacketConn { return c.UDPConn }

// Close closes the socket.
func (c *packetConn) Close() error {
	sockets.mu.Lock()
	delete(sockets.packets, c)
	sockets.mu.Unlock()
	return c.UDPConn.Close()
}

// addPackets adds a socket to the pool.
func (p *pool) addPackets(conn *net.UDPConn, t Target) *packetConn {
	c := &packetConn{UDPConn: conn, target: t}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.packets[c] = struct{}{}
	return c
}

// sharePackets makes our UDP sockets that contend with a target share, and
// reports whether there are any.
func (p *pool) sharePackets(t Target) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := false
	for c := range p.packets {
		if c.target.overlaps(t) && shareUDP(c.UDPConn) == nil {
			found = true
		}
	}
	return found
}
