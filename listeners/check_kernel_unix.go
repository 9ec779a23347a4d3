//go:build linux || darwin || freebsd

package listeners

import (
	"os"

	"golang.org/x/sys/unix"
)

// probe asks the kernel whether a socket of IP could be opened.
func probe(t Target, options Options, share bool) error {
	if t.Network == "tcp" && options.on("mptcp") {
		if err := probeMPTCP(t, options); err != nil {
			return err
		}
	}
	return withBindCapability(t.Addr.Port(), func() error { return probeOnce(t, options, share) })
}

// probeOnce does what openTCP and openUDP do, on a socket that gets nothing.
func probeOnce(t Target, options Options, share bool) error {
	k, err := newProbe(t)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(k.fd) }()
	muted := mute(k.fd)
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
	if t.Network == "udp" && share && discreet(t, options) && !aside(k.fd) {
		return nil // not known, but nothing is lost
	}
	if err := unix.Bind(k.fd, addr); err != nil {
		return os.NewSyscallError("bind", err)
	}
	bound, err := k.bound()
	if err == nil {
		err = k.verify(t, bound)
	}
	if err != nil || t.Network == "udp" || !muted || share && !aside(k.fd) {
		return err
	}
	return os.NewSyscallError("listen", unix.Listen(k.fd, backlog(options)))
}

// newProbe makes a plain socket: those of MPTCP take no filter, and are bound
// like others.
func newProbe(t Target) (*kernel, error) {
	if t.Network == "tcp" {
		return newTCP(t, 0)
	}
	family := unix.AF_INET6
	if t.Addr.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err := newFD(family, unix.SOCK_DGRAM, 0)
	return &kernel{fd: fd, family: family}, os.NewSyscallError("socket", err)
}

// probeMPTCP tells whether there is MPTCP and it takes the options.
func probeMPTCP(t Target, options Options) error {
	k, err := newTCP(t, protoMPTCP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(k.fd) }()
	return k.setAll(options)
}
