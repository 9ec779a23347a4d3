package steer

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Held is a UDP socket of this process that gets all packets of its address for as
// long as it is open, whoever joins: connections of QUIC that have no mark cannot be
// told apart. Its methods must not be called at the same time.
type Held struct {
	fd      int // a duplicate
	addr    net.Addr
	touched bool // SO_REUSEPORT was not set
}

// Hold finds the UDP sockets of this process that are bound, not connected, and
// match by their local address, a [*net.UDPAddr]. A successor can open one of its
// own then, and gets packets when this process has closed its. What is returned must
// be closed, also after an error.
func Hold(match func(net.Addr) bool) ([]*Held, error) {
	program := []bpf.Instruction{bpf.RetConstant{Val: oldest}}
	var all []*Held
	err := each(receivesPackets, func(fd int, at *net.TCPAddr) (bool, error) {
		addr := &net.UDPAddr{IP: at.IP, Port: at.Port, Zone: at.Zone}
		if !match(addr) {
			return false, nil
		}
		h := &Held{fd: fd, addr: addr}
		all = append(all, h)
		var err error
		if h.touched, err = share(fd, program); err == nil {
			err = attach(fd, program)
		}
		if err != nil {
			return true, fmt.Errorf("keeping packets of udp/%s: %w", addr, err)
		}
		return true, nil
	})
	return all, err
}

// Addr returns the address, a [*net.UDPAddr].
func (h *Held) Addr() net.Addr { return h.addr }

// Free undoes Hold, once the successor is gone. If a predecessor is still there,
// everything stays as that wants it.
func (h *Held) Free() error {
	inodes, err := members(h.fd)
	if err != nil || len(inodes) > 1 {
		return err
	}
	err = detach(h.fd)
	if h.touched && err == nil {
		h.touched = false
		err = os.NewSyscallError("setsockopt SO_REUSEPORT", unix.SetsockoptInt(h.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0))
	}
	if err != nil {
		return fmt.Errorf("leaving packets of udp/%s to the kernel: %w", h.addr, err)
	}
	return nil
}

// Close closes the duplicate, and leaves the program as it is.
func (h *Held) Close() error { return unix.Close(h.fd) }

// receivesPackets reports whether a descriptor is a UDP socket that is not connected.
func receivesPackets(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_DGRAM {
		return false
	}
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || protocol != unix.IPPROTO_UDP {
		return false
	}
	_, err = unix.Getpeername(fd)
	return errors.Is(err, unix.ENOTCONN)
}
