package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// liveSocket is a socket of a running server. The test holds no duplicate of
// it, which would keep it alive.
type liveSocket struct {
	pid, number int // of the descriptor
	inode       string
	kind        int // unix.SOCK_STREAM or SOCK_DGRAM
	addr        netip.AddrPort
	peer        netip.AddrPort // of a connection
}

// use calls a function with a duplicate of the descriptor, if it is still
// open.
func (l liveSocket) use(fn func(fd int) error) error {
	process, err := unix.PidfdOpen(l.pid, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer func() { _ = unix.Close(process) }()
	fd, err := unix.PidfdGetfd(process, l.number, 0)
	if err != nil {
		return os.NewSyscallError("pidfd_getfd", err)
	}
	defer func() { _ = unix.Close(fd) }()
	return fn(fd)
}

// option reads an option that is a number.
func (l liveSocket) option(t testing.TB, level, name int) (n int) {
	t.Helper()
	if err := l.use(func(fd int) (err error) {
		n, err = unix.GetsockoptInt(fd, level, name)
		return err
	}); err != nil {
		t.Errorf("%s: option %d of level %d: %v", l.addr, name, level, err)
	}
	return n
}

// device returns the device that the socket is bound to.
func (l liveSocket) device(t testing.TB) (name string) {
	t.Helper()
	if err := l.use(func(fd int) (err error) {
		name, err = unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
		return err
	}); err != nil {
		t.Errorf("%s: its device: %v", l.addr, err)
	}
	return name
}

// socketsOf returns the sockets of IP of a server, each once.
func socketsOf(t testing.TB, s *testcaddy.Server) []liveSocket {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/fd", s.Pid)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found []liveSocket
	seen := make(map[string]bool)
	for _, entry := range entries {
		link, err := os.Readlink(filepath.Join(folder, entry.Name()))
		inode, isSocket := strings.CutPrefix(link, "socket:[")
		if err != nil || !isSocket || seen[inode] {
			continue
		}
		seen[inode] = true
		l := liveSocket{pid: s.Pid, inode: strings.TrimSuffix(inode, "]")}
		l.number, _ = strconv.Atoi(entry.Name())
		err = l.use(func(fd int) (err error) {
			name, _ := unix.Getsockname(fd)
			l.addr = addrPortOf(name)
			peer, _ := unix.Getpeername(fd)
			l.peer = addrPortOf(peer)
			l.kind, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
			return err
		})
		if err == nil && l.addr.IsValid() { // otherwise closed meanwhile, or not of IP
			found = append(found, l)
		}
	}
	return found
}

// boundAt returns the sockets of a server that are bound to a port and have
// no peer.
func boundAt(t testing.TB, s *testcaddy.Server, kind, port int) []liveSocket {
	t.Helper()
	return slices.DeleteFunc(socketsOf(t, s), func(l liveSocket) bool {
		return l.kind != kind || int(l.addr.Port()) != port || l.peer.IsValid()
	})
}

// listeningAt returns the one socket of boundAt.
func listeningAt(t testing.TB, s *testcaddy.Server, kind, port int) liveSocket {
	t.Helper()
	found := boundAt(t, s, kind, port)
	if len(found) != 1 {
		t.Fatalf("port %d has %d sockets: %v", port, len(found), found)
	}
	return found[0]
}

// addrPort returns the address of a TCP or UDP socket.
func addrPort(addr net.Addr) netip.AddrPort {
	if a, ok := addr.(interface{ AddrPort() netip.AddrPort }); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

func addrPortOf(name unix.Sockaddr) netip.AddrPort {
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
	}
	return netip.AddrPort{}
}
