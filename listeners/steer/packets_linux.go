package steer

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// PacketGroup is a group of UDP sockets with one address that carry QUIC, seen
// from a socket of this process. The connection IDs must be those of
// [ConnectionIDs]. Its methods must not be called at the same time.
type PacketGroup struct {
	conn    PacketConn
	own     Mark
	first   bool // the socket is known to be the oldest of the group, and stays it
	touched bool // SO_REUSEPORT was not set
}

// PacketConn is a UDP socket.
type PacketConn interface {
	net.PacketConn
	syscall.Conn
}

// Packets returns the group of a socket of this process, whose connections have
// the given mark. It does nothing yet.
func Packets(conn PacketConn, own Mark) *PacketGroup { return &PacketGroup{conn: conn, own: own} }

// Keep has this process get all new connections, and makes room for a
// successor: packets of connections with its mark reach its socket as soon as
// there is one that was bound with SO_REUSEPORT. The first time Keep waits up
// to two seconds until the socket is the only one of its group, and fails if it
// is not.
func (g *PacketGroup) Keep() error {
	return g.control("keeping new connections", func(fd int) error {
		if !g.first {
			if err := alone(fd); err != nil {
				return err
			}
			touched, err := share(fd, g.program(oldest))
			g.touched = g.touched || touched
			if err != nil {
				return err
			}
			g.first = true
		}
		return attach(fd, g.program(oldest))
	})
}

// Give has the successor get all new connections; as long as there is none,
// this process gets them. The others stay where they are. Keep must have been
// called before.
func (g *PacketGroup) Give() error {
	return g.control("giving new connections", func(fd int) error { return attach(fd, g.program(next)) })
}

// Detach undoes Keep and Give, once there is no successor any more: it waits
// up to two seconds until the socket is the only one of its group, and fails if
// it is not.
func (g *PacketGroup) Detach() error {
	return g.control("leaving packets to the kernel", func(fd int) error {
		if err := alone(fd); err != nil {
			return err
		}
		if err := detach(fd); err != nil {
			return err
		}
		g.first = false
		if !g.touched {
			return nil
		}
		g.touched = false
		return os.NewSyscallError("setsockopt SO_REUSEPORT", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0))
	})
}

// share lets a successor's socket join the group of one. One that was bound without
// SO_REUSEPORT is in no group: the kernel makes one when another joins, and the
// program chooses from the first moment. It reports whether that was so.
func share(fd int, program []bpf.Instruction) (touched bool, err error) {
	shares, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
	if err != nil {
		return false, os.NewSyscallError("getsockopt SO_REUSEPORT", err)
	}
	if shares != 0 {
		return false, nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return false, os.NewSyscallError("setsockopt SO_REUSEPORT", err)
	}
	return true, besides(fd, func(int) error { return attach(fd, program) })
}

// program sends packets with a connection ID of ours to the process that has
// made it, and others, which begin connections, to a member of the group.
// Offsets count from the payload. What is too short for a load goes to the
// oldest.
func (g *PacketGroup) program(newTo uint32) []bpf.Instruction {
	marked, other := uint32(oldest), uint32(next)
	if g.own == 1 {
		marked, other = other, marked
	}
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x80, SkipTrue: 2}, // a long header
		bpf.LoadAbsolute{Off: 1, Size: 1},                         // the ID
		bpf.Jump{Skip: 3},
		bpf.LoadAbsolute{Off: 5, Size: 1}, // the length of the ID
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: idLength, SkipTrue: 4},
		bpf.LoadAbsolute{Off: 6, Size: 1}, // the ID
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: markBit, SkipTrue: 1},
		bpf.RetConstant{Val: marked},
		bpf.RetConstant{Val: other},
		bpf.RetConstant{Val: newTo},
	}
}

// control runs a function on the descriptor of the socket.
func (g *PacketGroup) control(what string, use func(fd int) error) error {
	raw, err := g.conn.SyscallConn()
	if err == nil {
		var used error
		err = raw.Control(func(fd uintptr) { used = use(int(fd)) })
		if err == nil {
			err = used
		}
	}
	if err != nil {
		return fmt.Errorf("%s of udp/%s: %w", what, g.conn.LocalAddr(), err)
	}
	return nil
}
