//go:build linux || darwin || freebsd

package listeners

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// lentSockets returns the sockets that the process was started with. They stay
// open as long as it lives: a later configuration may want them again.
var lentSockets = sync.OnceValue(func() []lent {
	if len(inheritedLent) > 0 {
		return inheritedLent
	}
	var all []lent
	for _, file := range activation.Files(false) { // others may look at the environment too
		l := lent{name: file.Name(), fd: int(file.Fd()), file: file}
		l.target, l.err = targetOf(l.fd)
		all = append(all, l)
	}
	return all
})

// targetOf tells what a descriptor is bound to, and makes it non-blocking.
func targetOf(fd int) (Target, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return Target{}, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return Target{}, errors.New("no socket")
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return Target{}, err
	}
	t := Target{Network: "tcp"}
	if kind == unix.SOCK_DGRAM {
		t.Network = "udp"
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		t.Addr = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		t.Addr = netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
		v6only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		if err != nil {
			return t, err
		}
		t.V6Only = v6only != 0
	case *unix.SockaddrUnix:
		t = Target{Network: "unix", Path: name.Name}
	default:
		return t, fmt.Errorf("a socket of a family other than IP and Unix")
	}
	if kind == unix.SOCK_DGRAM {
		if t.Network == "unix" {
			return t, errors.New("a datagram socket")
		}
		return t, nil
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err == nil && (kind != unix.SOCK_STREAM || listening == 0) {
		err = errors.New("not a listening stream socket: the unit needs ListenStream= and Accept=no")
	}
	return t, err
}

// activated returns the socket of a target that systemd opened.
func activated(name string, t Target, _ Options) (*socket, error) {
	l, err := findLent(name, "tcp", t.Addr.Port())
	if err != nil {
		return nil, err
	}
	family := unix.AF_UNIX
	switch {
	case t.Network == "unix":
	case t.Addr.Addr().Is4():
		family = unix.AF_INET
	default:
		family = unix.AF_INET6
	}
	return &socket{kernel: kernel{fd: l.fd, family: family, lent: true}, target: t}, nil
}
