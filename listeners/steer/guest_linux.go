package steer

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// besides runs a function on a socket that joins the group of another for that
// time.
//
// Until a program sends nothing there, which is some microseconds for the
// first program of a group, it may be chosen. It drops what it gets: clients
// of TCP and QUIC send that again.
func besides(fd int, use func(guest int) error) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	var family int
	var port uint16
	switch addr := addr.(type) {
	case *unix.SockaddrInet4:
		family, port = unix.AF_INET, uint16(addr.Port)
	case *unix.SockaddrInet6:
		family, port = unix.AF_INET6, uint16(addr.Port)
	default:
		return fmt.Errorf("only sockets of IP can be steered, not %T", addr)
	}
	syscall.ForkLock.RLock()
	guest, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(guest) }()
	if err := setProgram(guest, unix.SO_ATTACH_FILTER, []bpf.Instruction{bpf.RetConstant{Val: 0}}); err != nil {
		return err
	}
	if err := mimic(fd, guest, family); err != nil {
		return err
	}
	err = listeners.WithBindCapability(port, func() error { return unix.Bind(guest, addr) })
	if err != nil {
		return os.NewSyscallError("bind", err)
	}
	if kind == unix.SOCK_STREAM {
		if err := unix.Listen(guest, 1); err != nil {
			return os.NewSyscallError("listen", err)
		}
	}
	return use(guest)
}

// mimic sets what sockets of a group must have in common, or need to be bound
// to an address like that of the other.
func mimic(fd, guest, family int) error {
	if family == unix.AF_INET6 {
		v6only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err != nil {
			return os.NewSyscallError("getsockopt IPV6_V6ONLY", err)
		}
		if err := unix.SetsockoptInt(guest, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only); err != nil {
			return os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
		}
	}
	if device, err := unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err == nil && device != "" {
		if err := unix.BindToDevice(guest, device); err != nil {
			return os.NewSyscallError("setsockopt SO_BINDTODEVICE", err)
		}
	}
	_ = unix.SetsockoptInt(guest, unix.IPPROTO_IP, unix.IP_FREEBIND, 1) // the address may be gone
	for _, option := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
		if err := unix.SetsockoptInt(guest, unix.SOL_SOCKET, option, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
		}
	}
	return nil
}
