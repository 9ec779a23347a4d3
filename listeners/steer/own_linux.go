package steer

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Own returns the groups of the listening TCP sockets of this process that
// share their address by SO_REUSEPORT and whose local address, a
// [*net.TCPAddr], matches. A socket counts once, however many descriptors it
// has. If there are two on an address, as for a moment of Caddy's reloads, it
// waits up to two seconds until one of them is closed, and fails if both stay.
// The groups must be closed.
func Own(match func(net.Addr) bool) ([]*Group, error) {
	for deadline := time.Now().Add(settling); ; time.Sleep(5 * time.Millisecond) {
		groups, err := own(match)
		if err != nil {
			return nil, err
		}
		twice := duplicate(groups)
		if twice == nil {
			return groups, nil
		}
		_ = closeAll(groups) // so that they can go
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s has two listening sockets of this process, want one", twice)
		}
	}
}

// duplicate returns an address that several groups have, or nil.
func duplicate(groups []*Group) net.Addr {
	for i, g := range groups {
		if slices.ContainsFunc(groups[:i], func(other *Group) bool { return other.addr.String() == g.addr.String() }) {
			return g.addr
		}
	}
	return nil
}

// own is Own at this moment.
func own(match func(net.Addr) bool) ([]*Group, error) {
	var groups []*Group
	err := each(shares, func(fd int, addr *net.TCPAddr) (bool, error) {
		if !match(addr) {
			return false, nil
		}
		groups = append(groups, &Group{fd: fd, addr: addr})
		return true, nil
	})
	if err != nil {
		return nil, errors.Join(err, closeAll(groups))
	}
	return groups, nil
}

// each calls a function for the sockets of this process that are of a kind, with a
// duplicate, and their local address, until that fails. A socket counts once,
// however many descriptors it has. The function reports whether it keeps the
// duplicate.
func each(kind func(fd int) bool, use func(fd int, addr *net.TCPAddr) (kept bool, err error)) error {
	names, err := descriptors()
	if err != nil {
		return err
	}
	var inodes []uint64
	for _, name := range names {
		n, err := strconv.Atoi(name)
		if err != nil || !kind(n) {
			continue
		}
		fd, err := unix.FcntlInt(uintptr(n), unix.F_DUPFD_CLOEXEC, 0)
		if errors.Is(err, unix.EBADF) {
			continue // closed since
		}
		if err != nil {
			return os.NewSyscallError("fcntl", err)
		}
		kept := false
		var stat unix.Stat_t
		// the number may stand for another file by now
		if addr := localAddr(fd); addr != nil && kind(fd) && unix.Fstat(fd, &stat) == nil && !slices.Contains(inodes, stat.Ino) {
			inodes = append(inodes, stat.Ino)
			kept, err = use(fd, addr)
		}
		if !kept {
			_ = unix.Close(fd)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// descriptors returns the numbers of the open descriptors.
func descriptors() ([]string, error) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	return dir.Readdirnames(-1)
}

// shares reports whether a descriptor is a listening socket of TCP or MPTCP
// with SO_REUSEPORT.
func shares(fd int) bool {
	for _, want := range []struct{ option, value int }{
		{unix.SO_TYPE, unix.SOCK_STREAM}, {unix.SO_ACCEPTCONN, 1}, {unix.SO_REUSEPORT, 1},
	} {
		if value, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, want.option); err != nil || value != want.value {
			return false
		}
	}
	return true
}

// localAddr returns the address of a socket of IP, or nil.
func localAddr(fd int) *net.TCPAddr {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: net.IP(name.Addr[:]), Port: name.Port}
	case *unix.SockaddrInet6:
		addr := &net.TCPAddr{IP: net.IP(name.Addr[:]), Port: name.Port}
		if card, err := net.InterfaceByIndex(int(name.ZoneId)); err == nil {
			addr.Zone = card.Name
		}
		return addr
	}
	return nil
}

func closeAll(groups []*Group) error {
	var errs []error
	for _, g := range groups {
		errs = append(errs, g.Close())
	}
	return errors.Join(errs...)
}
