package listeners

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialLoop connects again and again during something, and counts.
func dialLoop(t *testing.T, address string, patience time.Duration, during func()) (succeeded, failed int64) {
	t.Helper()
	var ok, bad atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() {
			for ctx.Err() == nil {
				dialer := net.Dialer{Timeout: patience}
				conn, err := dialer.Dial("tcp", address)
				if err != nil {
					bad.Add(1)
					continue
				}
				ok.Add(1)
				conn.Close()
			}
		})
	}
	for bad.Load()+ok.Load() < 10 { // they are at it
		if t.Context().Err() != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	during()
	cancel()
	clients.Wait()
	return ok.Load(), bad.Load()
}

// reserve keeps a TCP port from others without listening on it; with share it
// may be bound by those that share, otherwise by those that reuse.
func reserve(t *testing.T, option int, listen bool) (port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if listen {
		if err := unix.Listen(fd, 4096); err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
				if err != nil {
					return
				}
				unix.Close(conn)
			}
		}()
		t.Cleanup(func() { _ = unix.Shutdown(fd, unix.SHUT_RDWR) })
	}
	return addr.(*unix.SockaddrInet4).Port
}

// A client that connects all the time never gets into a socket that is only
// tried. Without the filter it does, some hundred times.
//
// Not parallel: a process that other tests start holds the sockets of this one
// until it has become another program.
func TestCheckOpensNothing(t *testing.T) {
	port := reserve(t, unix.SO_REUSEADDR, false)
	target := Target{Network: "tcp", Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))}
	ok, bad := dialLoop(t, target.String(), 50*time.Millisecond, func() {
		for range 20000 {
			if err := probe(target, nil, false); err != nil {
				t.Error(err)
				return
			}
		}
	})
	if ok != 0 || bad == 0 {
		t.Errorf("%d connections got in, %d did not", ok, bad)
	}
}

// A socket that shares with the one that is tried loses no client to it: a
// packet that is dropped would be sent again after a second only.
//
// Not parallel: a process that other tests start holds the sockets of this one
// until it has become another program.
func TestCheckTakesNobodysClients(t *testing.T) {
	port := reserve(t, unix.SO_REUSEPORT, true)
	target := Target{Network: "tcp", Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))}
	ok, bad := dialLoop(t, target.String(), 950*time.Millisecond, func() {
		for range 20000 {
			if err := probe(target, Options{"backlog": {N: 5}}, true); err != nil {
				t.Error(err)
				return
			}
		}
	})
	if ok == 0 || bad != 0 {
		t.Errorf("%d clients were served, %d not", ok, bad)
	}
	for _, address := range []string{"tcp4/127.0.0.1:%d", "ipv4/127.0.0.1?share:%d", "ipv4/127.0.0.1?share&mptcp=off&backlog=5:%d"} {
		r := Check(t.Context(), fmt.Sprintf(address, port), 0, nil)
		if !r.OK() || !strings.Contains(r.Targets[0].Note, "would get a part of what arrives") {
			t.Error(r)
		}
	}
}

// The same for datagrams.
func TestCheckTakesNobodysPackets(t *testing.T) {
	t.Parallel()
	shared := net.ListenConfig{Control: reusePortControl}
	conn, err := shared.ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		target := Target{Network: "udp", Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}
		for range 20000 {
			if err := probe(target, nil, true); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	sent := 0
	buffer := make([]byte, 8)
	for running := true; running; sent++ {
		client, err := net.Dial("udp4", conn.LocalAddr().String()) // each from a port of its own
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatalf("packet %d: %v", sent, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, _, err := conn.ReadFrom(buffer); err != nil {
			t.Fatalf("packet %d: %v", sent, err)
		}
		client.Close()
		select {
		case <-done:
			running = false
		default:
		}
	}
	if sent < 10 {
		t.Errorf("only %d packets were sent meanwhile", sent)
	}
	r := Check(t.Context(), "udp4/"+conn.LocalAddr().String(), 0, nil)
	if !r.OK() || !strings.Contains(r.Targets[0].Note, "would get a part of what arrives") {
		t.Error(r)
	}
	alone, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if r := Check(t.Context(), "udp4/"+alone.LocalAddr().String(), 0, nil); r.OK() {
		t.Errorf("a socket that does not share: %s", r)
	}
}

// Conflicts that only listen reports, and options that the kernel refuses.
func TestCheckAsksForTheWholeVerdict(t *testing.T) {
	t.Parallel()
	port := takePort(t, "0.0.0.0")
	for address, says := range map[string]string{
		"ipv4/127.0.0.1:%d":                       "which covers every IPv4 address",
		"ipv4/127.0.0.1?share:%d":                 "which covers every IPv4 address",
		"dual/:%d":                                "a socket for both families",
		"ipv4/?device=nosuch0:%d":                 "no interface is named nosuch0",
		"ipv4/127.0.0.1?mptcp&user_timeout=3s:%d": "MPTCP sockets lack several",
		"ipv4/192.0.2.199:%d":                     "not an address of this host",
	} {
		r := Check(t.Context(), fmt.Sprintf(address, port), 0, nil)
		if r.OK() || r.Error != "" || !strings.Contains(r.String(), says) {
			t.Errorf("want %q: %s", says, r)
		}
	}
}

// Nothing is left of a check.
func TestCheckLeavesNothing(t *testing.T) { // not parallel: it counts descriptors
	taken := takePort(t, "127.0.0.1")
	count := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	dir := socketDir(t)
	all := func() {
		for _, address := range []string{
			"ipv4/127.0.0.1:0", fmt.Sprintf("ipv4/127.0.0.1:%d", taken), "ipv4/127.0.0.1?mptcp:0", "ipv4/?device=nosuch0:0",
			"udp/:0", "dual/:0", "ipv4/?mptcp&user_timeout=3s:0", "unixsock/" + dir + "/x", "unixsock/@" + dir, "ipv6/[fe80::1]:0",
			fmt.Sprintf("ipv4/127.0.0.1?share:%d", taken),
		} {
			CheckHTTP3(t.Context(), address, 0, nil)
		}
	}
	all()
	before := count()
	for range 20 {
		all()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// socketDir is a temporary folder with a short path.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ck")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestCheckUnixSockets(t *testing.T) {
	t.Parallel()
	dir := socketDir(t)
	live, err := net.Listen("unix", dir+"/live")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	left, err := net.Listen("unix", dir+"/left")
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	name, err := net.Listen("unix", "@"+dir)
	if err != nil {
		t.Fatal(err)
	}
	defer name.Close()
	if err := os.WriteFile(dir+"/file", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	self := fmt.Sprintf("in use by this process (pid %d) on ", os.Getpid())
	for _, c := range []struct {
		address string
		ok      bool
		says    string
	}{
		{dir + "/free", true, "unix " + dir + "/free"},
		{dir + "/free|0600", true, "mode=0600"},
		{dir + "/left", true, "a socket that nobody serves is left over there, and would be removed"},
		{dir + "/live", false, self + dir + "/live"},
		{dir + "/file", false, "a regular file is at the path, which is not removed"},
		{dir + "/link", false, "a symbolic link is at the path"},
		{dir, false, "a directory is at the path"},
		{dir + "/a/b", false, "directory " + dir + "/a does not exist"},
		{dir + "/a/b/c?mkdir=0750", true, "directory " + dir + "/a/b does not exist, and would be made in " + dir + " with mode 0750"},
		{dir + "/file/c", false, dir + "/file is a regular file, not a directory"},
		{dir + "/file/c?mkdir=0750", false, dir + "/file is a regular file, not a directory"},
		{dir + "/free?user=no-such-user", false, "unknown user no-such-user"},
		{dir + "/free?group=no-such-group", false, "unknown group no-such-group"},
		{dir + "/free?user=daemon&group=daemon", true, "group=daemon"},
		{dir + "/" + strings.Repeat("x", 120), false, "the path of a socket at most 107"},
		{"@" + dir, false, self + "@" + dir},
		{"@" + dir + "x", true, "unix @"},
	} {
		r := Check(t.Context(), "unixsock/"+c.address, 80, nil)
		if r.OK() != c.ok || r.Error != "" || r.Note != "" || len(r.Targets) != 1 || !strings.Contains(r.String(), c.says) {
			t.Errorf("want %v, %q: %s", c.ok, c.says, r)
		}
	}
	if after := listing(t, dir); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	// the live one is seen without a connection to it
	for _, ln := range []net.Listener{live, name} {
		_ = ln.(*net.UnixListener).SetDeadline(time.Now().Add(20 * time.Millisecond))
		if conn, err := ln.Accept(); err == nil {
			conn.Close()
			t.Errorf("%s: the check has connected to it", ln.Addr())
		}
	}
}

// listing tells what is in a folder, and which files they are.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s %d %s\n", path, info.Mode(), info.Size(), info.ModTime())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func reusePortControl(_, _ string, conn syscall.RawConn) error {
	var set error
	err := conn.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(err, set)
}
