//go:build linux || darwin || freebsd

package listeners

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// openUDP binds a UDP socket. If there are addresses, it takes only packets
// to these.
func openUDP(t Target, only []netip.Addr, options Options, share bool) (*net.UDPConn, error) {
	family := unix.AF_INET6
	if t.Addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := newFD(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "udp")
	defer func() { _ = file.Close() }()
	if err := prepare(fd, family, t, share || options.on("share")); err != nil {
		return nil, err
	}
	if len(only) > 0 {
		if err := restrict(fd, only); err != nil {
			return nil, err
		}
	}
	k := kernel{fd: fd, family: family}
	if err := k.setAll(options); err != nil {
		return nil, err
	}
	addr, err := sockaddr(t)
	if err != nil {
		return nil, err
	}
	err = withBindCapability(t.Addr.Port(), func() error { return unix.Bind(fd, addr) })
	if err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	return udpConn(file)
}

// WithBindCapability runs a function that binds a socket to a port, and again
// with CAP_NET_BIND_SERVICE in effect if the process may not bind it but is
// permitted that capability.
func WithBindCapability(port uint16, bind func() error) error { return withBindCapability(port, bind) }

// udpConn returns a connection over a duplicate of a socket.
func udpConn(file *os.File) (*net.UDPConn, error) {
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("%s is not a UDP socket", conn.LocalAddr())
	}
	return udp, nil
}

// shareUDP lets other sockets be bound to the address that ask for it too, or
// no longer.
func shareUDP(conn *net.UDPConn, share bool) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	value := 0
	if share {
		value = 1
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, reusePort, value)
	})
	if err != nil {
		return err
	}
	return set
}

// lentPacket returns a UDP socket that systemd opened.
func lentPacket(name string, port uint16) (*net.UDPConn, error) {
	l, err := findLent(name, "udp", port)
	if err != nil {
		return nil, err
	}
	fd, err := unix.FcntlInt(uintptr(l.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), name)
	defer func() { _ = file.Close() }()
	return udpConn(file)
}
