//go:build !linux

package listeners

import "net"

// shaped returns what to give to QUIC, which may enlarge buffers and set the
// whole field of tos.
func shaped(c *packetConn, _ Options) net.PacketConn { return c }
