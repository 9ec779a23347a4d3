package listeners

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// ownHolder is the Holder that this process is.
func ownHolder(t *testing.T, address, family string) Holder {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return Holder{
		Address: address, Family: family, Pid: os.Getpid(), Process: strings.TrimSpace(string(name)),
		UID: os.Geteuid(), User: userName(os.Geteuid()),
	}
}

func wantHolders(t *testing.T, target Target, want ...Holder) {
	t.Helper()
	if got := Holders(target); !reflect.DeepEqual(got, want) {
		t.Errorf("holders of %s:\n got %+v\nwant %+v", target, got, want)
	}
}

func TestHoldersOfAnAddress(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	port := listenOn(t, "tcp", "127.0.0.1:0")
	own := ownHolder(t, "127.0.0.1:"+port, familyIPv4)
	v6only := testTarget(t, "tcp", "[::]:"+port)
	v6only.V6Only = true

	wantHolders(t, testTarget(t, "tcp", "127.0.0.1:"+port), own)
	wantHolders(t, testTarget(t, "tcp", "0.0.0.0:"+port), own)
	wantHolders(t, testTarget(t, "tcp", "[::]:"+port), own)
	wantHolders(t, v6only)
	wantHolders(t, testTarget(t, "tcp", "127.0.0.2:"+port))
	wantHolders(t, testTarget(t, "tcp", "[::1]:"+port))
	wantHolders(t, testTarget(t, "udp", "127.0.0.1:"+port))
	wantHolders(t, testTarget(t, "tcp", "127.0.0.1:0"))
	if text := own.String(); text != "this process (pid "+strconv.Itoa(os.Getpid())+") on 127.0.0.1:"+port {
		t.Error(text)
	}
}

func TestHoldersTellDualStackFromIPv6Only(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	dual := listenOn(t, "tcp", "[::]:0")
	only := listenOn(t, "tcp6", "[::]:0")
	wantHolders(t, testTarget(t, "tcp", "127.0.0.1:"+dual), ownHolder(t, "[::]:"+dual, familyDual))
	wantHolders(t, testTarget(t, "tcp", "[::1]:"+dual), ownHolder(t, "[::]:"+dual, familyDual))
	wantHolders(t, testTarget(t, "tcp", "127.0.0.1:"+only))
	wantHolders(t, testTarget(t, "tcp", "[::1]:"+only), ownHolder(t, "[::]:"+only, familyIPv6))
}

func TestHoldersAreSortedBestMatchFirst(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	port := listenOn(t, "tcp4", "127.0.0.2:0")
	listenOn(t, "tcp4", "127.0.0.1:"+port)
	listenOn(t, "tcp6", "[::]:"+port)
	exact, other := ownHolder(t, "127.0.0.1:"+port, familyIPv4), ownHolder(t, "127.0.0.2:"+port, familyIPv4)
	wantHolders(t, testTarget(t, "tcp", "127.0.0.1:"+port), exact)
	six := ownHolder(t, "[::]:"+port, familyIPv6)
	got := Holders(testTarget(t, "tcp", "[::]:"+port))
	if len(got) != 3 || got[0] != six {
		t.Errorf("got %v, want %v before %v and %v", got, six, exact, other)
	}
}

func TestHoldersOfUDP(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	conn, err := net.ListenPacket("udp", "[::]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	port := portOf(conn.LocalAddr().String())
	wantHolders(t, testTarget(t, "udp", "127.0.0.1:"+port), ownHolder(t, "[::]:"+port, familyDual))
}

// The kernel's two sources must agree; /proc does not know about wildcards.
func TestHoldersWithoutNetlink(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	for _, c := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"tcp", "[::]:0"}, {"tcp", "[::ffff:127.0.0.1]:0"},
		{"udp", "127.0.0.1:0"}, {"udp", "[::]:0"},
	} {
		target := testTarget(t, c.network, c.address)
		var port uint16
		if target.Network == "tcp" {
			ln, err := net.Listen("tcp", c.address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
			port = ln.Addr().(*net.TCPAddr).AddrPort().Port()
		} else {
			conn, err := net.ListenPacket("udp", c.address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			port = conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		}
		var diag, table []kernelSocket
		for _, v6 := range []bool{false, true} {
			list, err := diagSockets(c.network, v6, port)
			if err != nil {
				t.Fatal(err)
			}
			diag = append(diag, list...)
			table = append(table, tableSockets(c.network, v6, port)...)
		}
		for i := range diag {
			if diag[i].family == familyDual {
				diag[i].family = familyMaybeDual
			}
		}
		if len(diag) != 1 || !reflect.DeepEqual(diag, table) {
			t.Errorf("%s %s: netlink %+v, /proc %+v", c.network, c.address, diag, table)
		}
	}
}

// Fields of a wildcard in /proc/net/tcp6 do not tell whether it takes IPv4; the
// text must not claim it.
func TestHoldersThatMayTakeIPv4(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddrPort("[::]:80")
	if got := overlapOf(testTarget(t, "tcp", "127.0.0.1:80"), addr, familyMaybeDual); got != dualCover {
		t.Errorf("got %d", got)
	}
	text := describeHeld([]held{{Holder: Holder{Address: "[::]:80", Family: familyMaybeDual, UID: -1}, overlap: dualCover}})
	if want := "an unknown process on [::]:80, an IPv6 socket that takes IPv4 too unless it is set to IPv6 only"; text != want {
		t.Errorf("got %q", text)
	}
}

func TestHoldersThatOnlyBind(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	port := strconv.Itoa(testcaddy.Port(t))
	target := testTarget(t, "tcp", "127.0.0.1:"+port)
	if !kernelShowsBound(t) {
		t.Skip("this kernel does not show sockets that are only bound")
	}
	wantHolders(t, target, ownHolder(t, "127.0.0.1:"+port, familyIPv4))
	wantWords(t, Diagnose(target, bindRaw(target)), syscall.EADDRINUSE, "this process", "bound but not listening")
}

// kernelShowsBound tells whether Linux is 6.8 or later.
func kernelShowsBound(t *testing.T) bool {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 8
}

func TestHoldersOfUnixSockets(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "with space.sock")
	var address string
	pid := startChild(t, nobody, dir, "listen unix with space.sock", &address)
	want := Holder{
		Address: "with space.sock", Family: familyUnix, Pid: pid, Process: comm(t, pid),
		UID: nobody, User: userName(nobody),
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	target := testTarget(t, "unix", path)
	wantHolders(t, target, want) // and not the connection, which has the same name
	wantWords(t, Diagnose(target, bindRaw(target)), syscall.EADDRINUSE,
		fmt.Sprintf("in use by %s (pid %d, user %s) on with space.sock; stop it or use another path", want.Process, pid, want.User))

	namesake := filepath.Join(shortDir(t), "with space.sock")
	listenOn(t, "unix", namesake)
	wantHolders(t, testTarget(t, "unix", namesake), ownHolder(t, namesake, familyUnix))
	link := filepath.Join(shortDir(t), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	wantHolders(t, testTarget(t, "unix", link+"/with space.sock"), want)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantHolders(t, target)
}

func TestHoldersOfAbstractSockets(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	ln, err := net.Listen("unix", "@holder")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	wantHolders(t, testTarget(t, "unix", "@holder"), ownHolder(t, "@holder", familyUnix))
	wantHolders(t, testTarget(t, "unix", "@other"))
}

func TestHolderTablesWithOddLines(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", " ", "Num       RefCount Protocol Flags    Type St Inode Path", "0: 1 2 3", "0: 2 0 10000 1 01 x /p"} {
		if s, ok := parseUnixLine(line); ok {
			t.Errorf("%q: %+v", line, s)
		}
	}
	for _, text := range []string{"", ":", "0100007F", "0100007F:", "zz:1", "0100007F:12345", "01:1"} {
		if addr, err := parseTableAddr(text); err == nil && addr.IsValid() {
			t.Errorf("%q: %v", text, addr)
		}
	}
}

func TestHolderString(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		h    Holder
		want string
	}{
		{Holder{Address: "0.0.0.0:80", Pid: 1 << 30, Process: "nginx", UID: 33, User: "www"}, "nginx (pid 1073741824, user www) on 0.0.0.0:80"},
		{Holder{Address: "0.0.0.0:80", Pid: 1 << 30, UID: 33}, "a process (pid 1073741824, uid 33) on 0.0.0.0:80"},
		{Holder{Address: "0.0.0.0:80", UID: 33, User: "www"}, "a process of user www (uid 33) on 0.0.0.0:80"},
		{Holder{Address: "0.0.0.0:80", UID: 33}, "a process of uid 33 on 0.0.0.0:80"},
		{Holder{Address: "/run/x", UID: -1}, "an unknown process on /run/x"},
	} {
		if got := c.h.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
