package listeners

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Where a socket filter finds fields of the packet's IP header, whichever
// header the socket's own data begin with (linux/filter.h, SKF_NET_OFF).
const (
	ipHeader  = -0x100000 & 0xffffffff
	ipVersion = ipHeader
	ip4To     = ipHeader + 16
	ip6To     = ipHeader + 24
)

// restrict lets a socket receive only packets to some addresses. It is set
// before the socket is bound, so that there is no moment without it.
func restrict(fd int, only []netip.Addr) error {
	raw, err := bpf.Assemble(destinationFilter(only))
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		program[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// destinationFilter is a program that accepts packets to some addresses.
func destinationFilter(only []netip.Addr) []bpf.Instruction {
	accept := bpf.RetConstant{Val: 1<<32 - 1}
	drop := bpf.RetConstant{Val: 0}
	var v4, v6 []bpf.Instruction
	for _, ip := range only {
		if ip.Is4() {
			a := ip.As4()
			v4 = append(v4, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(a[:]), SkipTrue: 1}, accept)
			continue
		}
		a := ip.As16()
		for word := range 4 {
			rest := uint8(2*(3-word) + 1) // to the next address
			v6 = append(v6, bpf.LoadAbsolute{Off: uint32(ip6To + 4*word), Size: 4},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(a[4*word:]), SkipTrue: rest})
		}
		v6 = append(v6, accept)
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: ipVersion, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 6, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(v6) + 1)},
	}
	program = append(append(program, v6...), drop)
	program = append(program, bpf.LoadAbsolute{Off: ip4To, Size: 4})
	return append(append(program, v4...), drop)
}
