package listeners

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

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
	var only []netip.Addr
	if req.address.Network == Systemd {
		if target, err = activatedTarget(req.address.Host, "udp", port); err != nil {
			return nil, err
		}
		conn, err = lentPacket(req.address.Host, port)
	} else {
		conn, target, only, err = req.openPackets(ctx, port)
	}
	if err != nil {
		return nil, err
	}
	fields := []zap.Field{zap.String("asked", req.address.At(req.port)), zap.String("address", "udp/"+target.String()),
		zap.String("family", target.Family()), zap.Bool("v6only", target.V6Only)}
	if len(only) > 0 {
		fields = append(fields, zap.Stringers("packets_to", only))
	}
	req.log.Info("listening", fields...)
	return shaped(sockets.addPackets(&packetConn{conn, target, only, req}), req.address.Options), nil
}

// openPackets opens the UDP socket of an address. If there are addresses, it
// takes packets to these only.
func (req request) openPackets(ctx context.Context, port uint16) (_ *net.UDPConn, target Target, only []netip.Addr, err error) {
	targets, err := req.address.resolve(ctx, port)
	if err != nil {
		return nil, target, nil, err
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
	target = targets[0]
	if len(targets) > 1 {
		target, only = spanning(targets)
	}
	share := sockets.sharePackets(target) || predecessor.Load()
	conn, err := openUDP(target, only, options, share)
	if err != nil {
		return nil, target, nil, explain(target, err)
	}
	if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		target = target.withPort(uint16(addr.Port))
	}
	return conn, target, only, nil
}

// predecessor tells whether a process before this one has UDP sockets too.
var predecessor atomic.Bool

// ShareWithPredecessor has UDP sockets that are opened from now on share their
// addresses by SO_REUSEPORT with sockets of the process that this one
// succeeds. Called with false, once the predecessor has closed its sockets, it
// makes all exclusive again that need not share.
func ShareWithPredecessor(share bool) {
	if predecessor.Swap(share) && !share {
		sockets.mu.Lock()
		defer sockets.mu.Unlock()
		for c := range sockets.packets {
			sockets.separatePackets(c.target)
		}
	}
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
	only   []netip.Addr // packets to these only, unless there are none
	req    request
}

// Unwrap returns the socket, for which QUIC has faster ways.
func (c *packetConn) Unwrap() net.PacketConn { return c.UDPConn }

// Close closes the socket.
func (c *packetConn) Close() error {
	err := c.UDPConn.Close()
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	if _, ok := sockets.packets[c]; ok {
		delete(sockets.packets, c)
		sockets.separatePackets(c.target)
	}
	return err
}

// addPackets adds a socket to the pool.
func (p *pool) addPackets(c *packetConn) *packetConn {
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
		if c.target.overlaps(t) && shareUDP(c.UDPConn, true) == nil {
			found = true
		}
	}
	return found
}

// separatePackets makes those of our UDP sockets exclusive again that shared
// only with one that is gone. The mutex must be held.
func (p *pool) separatePackets(gone Target) {
	for c := range p.packets {
		if !c.req.address.Options.on("share") && c.target.overlaps(gone) && !p.contendedPackets(c) {
			_ = shareUDP(c.UDPConn, false)
		}
	}
}

func (p *pool) contendedPackets(c *packetConn) bool {
	for other := range p.packets {
		if other != c && other.target.overlaps(c.target) {
			return true
		}
	}
	return false
}
