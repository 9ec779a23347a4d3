//go:build linux || darwin || freebsd

package listeners

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// dualStack reports whether one socket can take both families.
const dualStack = true

// kernel is a listening socket of the operating system.
type kernel struct {
	fd     int
	family int
	mptcp  bool
	lent   bool        // it belongs to systemd and stays open
	file   *socketFile // of a Unix socket with a path
}

// openSocket binds a target and listens.
func openSocket(ctx context.Context, t Target, options Options, share bool) (*socket, error) {
	if t.Network == "unix" {
		return openUnix(ctx, t, options)
	}
	share = share || options.on("share")
	k, err := openTCP(t, options, share)
	if err != nil {
		return nil, err
	}
	bound, err := k.bound()
	if err == nil {
		err = k.verify(t, bound)
	}
	if err != nil {
		k.close()
		return nil, err
	}
	return &socket{kernel: *k, target: t.withPort(bound.Port()), options: options, shares: share}, nil
}

// openTCP opens an MPTCP socket, as Go's net package does, unless the options
// say otherwise or one of them is refused on such sockets.
func openTCP(t Target, options Options, share bool) (*kernel, error) {
	open := func(proto int) (k *kernel, err error) {
		err = withBindCapability(t.Addr.Port(), func() error {
			k, err = bindTCP(t, options, share, proto)
			return err
		})
		return k, err
	}
	if protoMPTCP == 0 || options["mptcp"].Text == "off" {
		return open(0)
	}
	k, err := open(protoMPTCP)
	if err == nil || !refusedOnMPTCP(err) || options.on("mptcp") {
		return k, err
	}
	return open(0)
}

func bindTCP(t Target, options Options, share bool, proto int) (*kernel, error) {
	k, err := newTCP(t, proto)
	if err != nil {
		return nil, err
	}
	if err := k.bind(t, options, share); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func newTCP(t Target, proto int) (*kernel, error) {
	family := unix.AF_INET6
	if t.Addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := newFD(family, unix.SOCK_STREAM, proto)
	if err != nil {
		if proto != 0 {
			return nil, &OptionError{Name: "mptcp", Value: "on", Err: os.NewSyscallError("socket", err)}
		}
		return nil, os.NewSyscallError("socket", err)
	}
	return &kernel{fd: fd, family: family, mptcp: proto != 0}, nil
}

// newFD opens a socket that does not block and is not inherited.
func newFD(family, kind, proto int) (int, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, kind, proto)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (k *kernel) bind(t Target, options Options, share bool) error {
	if err := prepare(k.fd, k.family, t, share); err != nil {
		return err
	}
	if err := k.setAll(options); err != nil {
		return err
	}
	addr, err := sockaddr(t)
	if err != nil {
		return err
	}
	if err := unix.Bind(k.fd, addr); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(k.fd, backlog(options)))
}

// setAll sets the options of a socket that does not listen.
func (k *kernel) setAll(options Options) error {
	for name := range options {
		if name == "backlog" || name == "share" { // set by listen, and by prepare
			continue
		}
		if err := k.set(name, options); err != nil {
			return &OptionError{Name: name, Value: options[name].Text, Err: err}
		}
	}
	return nil
}

// prepare sets what is set on every socket of IP before it is bound.
func prepare(fd, family int, t Target, share bool) error {
	if family == unix.AF_INET6 {
		v6only := 0
		if t.V6Only {
			v6only = 1
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only); err != nil {
			return os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
		}
	}
	if t.Network == "tcp" {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEADDR", err)
		}
	}
	if share {
		return os.NewSyscallError("setsockopt SO_REUSEPORT", unix.SetsockoptInt(fd, unix.SOL_SOCKET, reusePort, 1))
	}
	return nil
}

// backlog returns the length of the accept queue: as asked, or as much as the
// system allows.
func backlog(options Options) int {
	if n := options.number("backlog"); n > 0 {
		return int(n)
	}
	return 1<<16 - 1
}

func sockaddr(t Target) (unix.Sockaddr, error) {
	if t.Network == "unix" {
		path, err := shortPath(t.Path)
		return &unix.SockaddrUnix{Name: path}, err
	}
	ip, port := t.Addr.Addr(), int(t.Addr.Port())
	if ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: port}, nil
	}
	zone, err := zoneID(ip.Zone())
	return &unix.SockaddrInet6{Addr: ip.As16(), Port: port, ZoneId: zone}, err
}

// zoneID returns the index of an interface.
func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n), nil
	}
	card, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, fmt.Errorf("zone %s: %w", zone, syscall.ENODEV)
	}
	return uint32(card.Index), nil
}

// bound returns the address as the kernel tells it.
func (k *kernel) bound() (netip.AddrPort, error) {
	name, err := unix.Getsockname(k.fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("getsockname: unexpected family of socket")
}

// verify compares what is bound with what was asked for.
func (k *kernel) verify(t Target, bound netip.AddrPort) error {
	if bound.Addr() != t.Addr.Addr().WithZone("") {
		return fmt.Errorf("asked the system for %s and got %s", t, bound)
	}
	if k.family != unix.AF_INET6 {
		return nil
	}
	v6only, err := unix.GetsockoptInt(k.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
	if err != nil {
		return os.NewSyscallError("getsockopt IPV6_V6ONLY", err)
	}
	if (v6only != 0) != t.V6Only {
		return fmt.Errorf("the system made a socket with IPV6_V6ONLY=%d", v6only)
	}
	return nil
}

// listener returns a listener over a duplicate of the descriptor. All
// duplicates share one accept queue, and never block.
func (k *kernel) listener() (acceptor, error) {
	fd, err := unix.FcntlInt(uintptr(k.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	// a file of os.NewFile leaves the descriptor non-blocking when
	// FileListener asks for its number; one of TCPListener.File would make
	// it, and so all duplicates, blocking for a moment
	file := os.NewFile(uintptr(fd), "listener")
	defer func() { _ = file.Close() }()
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return ln.(acceptor), nil
}

// share lets other sockets be bound to the address that ask for it too.
func (k *kernel) share() error {
	return unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, reusePort, 1)
}

// unshare undoes share.
func (k *kernel) unshare() error {
	if err := unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, reusePort, 0); err != nil {
		return err
	}
	forgetSharing(k.fd)
	return nil
}

// lost reports whether the file of a Unix socket is not there any more.
func (k *kernel) lost() bool { return k.file != nil && !k.file.exists() }

// close closes the descriptor, and removes the file of a Unix socket.
func (k *kernel) close() {
	if k.lent {
		return
	}
	if k.file != nil {
		k.file.remove()
	}
	_ = unix.Close(k.fd)
}
