package steer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"

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
// match, by their local address, a [*net.UDPAddr], and whether they have
// SO_REUSEPORT. A successor can open one of its own then, and gets packets when
// this process has closed its. What is returned must be closed.
func Hold(match func(addr net.Addr, shares bool) bool) ([]*Held, error) {
	names, err := descriptors()
	if err != nil {
		return nil, err
	}
	var all []*Held
	var inodes []uint64
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil || !receivesPackets(n) {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		if errors.Is(err, unix.EBADF) {
			continue // closed since
		}
		if err != nil {
			return all, os.NewSyscallError("fcntl", err)
		}
		h := &Held{fd: fd}
		var stat unix.Stat_t
		shares, optErr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
		// the number may stand for another file by now
		if to := localAddr(fd); optErr == nil && to != nil && receivesPackets(fd) && unix.Fstat(fd, &stat) == nil && !slices.Contains(inodes, stat.Ino) {
			h.addr = &net.UDPAddr{IP: to.IP, Port: to.Port, Zone: to.Zone}
		}
		if h.addr == nil || !match(h.addr, shares != 0) {
			_ = h.Close()
			continue
		}
		inodes = append(inodes, stat.Ino)
		all = append(all, h)
		program := []bpf.Instruction{bpf.RetConstant{Val: oldest}}
		if h.touched, err = share(fd, program); err == nil {
			err = attach(fd, program)
		}
		if err != nil {
			return all, fmt.Errorf("keeping packets of udp/%s: %w", h.addr, err)
		}
	}
	return all, nil
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
