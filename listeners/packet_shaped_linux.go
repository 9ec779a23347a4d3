package listeners

import (
	"encoding/binary"
	"net"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// shapedConn keeps options that quic-go overrides: it enlarges small buffers
// when it starts, and it sets the whole field of tos to mark congestion.
// Apart from that, quic-go uses it like the socket itself.
type shapedConn struct {
	*net.UDPConn
	known *packetConn
	batch *ipv4.PacketConn
	tos   uint32
	again func()
	once  sync.Once
}

// shaped returns what to give to QUIC.
func shaped(c *packetConn, options Options) net.PacketConn {
	set := make(Options)
	for _, name := range []string{"rcvbuf", "sndbuf"} {
		if v, ok := options[name]; ok {
			set[name] = v
		}
	}
	tos := uint32(options.number("tos")) &^ 3
	if len(set) == 0 && tos == 0 {
		return c
	}
	again := func() {
		raw, err := c.SyscallConn()
		if err != nil {
			return
		}
		_ = raw.Control(func(fd uintptr) {
			for name, v := range set {
				_ = setNumber(int(fd), unix.AF_INET, name, v)
			}
		})
	}
	return &shapedConn{UDPConn: c.UDPConn, known: c, batch: ipv4.NewPacketConn(c.UDPConn), tos: tos, again: again}
}

// ReadBatch is how quic-go reads, after it has set the buffers.
func (c *shapedConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	c.once.Do(c.again)
	return c.batch.ReadBatch(ms, flags)
}

// WriteMsgUDP is how quic-go writes.
func (c *shapedConn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (int, int, error) {
	if c.tos != 0 && len(oob) > 0 {
		messages, _ := unix.ParseSocketControlMessage(oob)
		for _, m := range messages { // their data are part of oob
			v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS
			v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_TCLASS
			switch {
			case !v4 && !v6:
			case len(m.Data) >= 4:
				binary.NativeEndian.PutUint32(m.Data, binary.NativeEndian.Uint32(m.Data)|c.tos)
			case len(m.Data) == 1:
				m.Data[0] |= byte(c.tos)
			}
		}
	}
	return c.UDPConn.WriteMsgUDP(b, oob, addr)
}

// Close closes the socket.
func (c *shapedConn) Close() error { return c.known.Close() }
