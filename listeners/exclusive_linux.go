package listeners

import (
	"golang.org/x/sys/unix"
)

// forgetSharing makes the kernel forget that the port of a socket was shared.
// It remembers per port that all sockets there allow it, and lets a further
// one of the same user in without looking at their options again, until one
// is bound that does not allow it (inet_csk_update_fastreuse in
// net/ipv4/inet_connection_sock.c of Linux). So one is bound and closed. It
// does not listen, so nobody can reach it.
//
// Nothing may be bound beside a listening socket on its own address except in
// repair mode, for which the process needs CAP_NET_ADMIN, as Caddy's unit for
// systemd gives it. Otherwise the loopback address of the other family does
// it, which is not there for a dual-stack socket.
func forgetSharing(fd int) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return
	}
	family, other := unix.AF_INET, unix.AF_INET6
	var elsewhere unix.Sockaddr
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		elsewhere = &unix.SockaddrInet6{Port: name.Port, Addr: [16]byte{15: 1}}
	case *unix.SockaddrInet6:
		family, other = unix.AF_INET6, unix.AF_INET
		elsewhere = &unix.SockaddrInet4{Port: name.Port, Addr: [4]byte{127, 0, 0, 1}}
	default:
		return
	}
	if bindOnce(family, name, unix.TCP_REPAIR) != nil {
		_ = bindOnce(other, elsewhere, 0)
	}
}

// bindOnce binds a TCP socket, with an option of TCP set, and closes it.
func bindOnce(family int, addr unix.Sockaddr, option int) error {
	fd, err := newFD(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if option != 0 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, 1); err != nil {
			return err
		}
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	return unix.Bind(fd, addr)
}
