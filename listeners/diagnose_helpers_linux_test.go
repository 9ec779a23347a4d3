package listeners

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// newNetwork puts the calling thread, for the rest of the test, into a network
// namespace of its own, in which lo is up and nothing else.
func newNetwork(t *testing.T) {
	t.Helper()
	unshare(t, unix.CLONE_NEWNET)
	runProgram(t, testcaddy.Program(t, "ip"), "link", "set", "lo", "up")
}

// unshare keeps the thread: it ends with the test's goroutine.
func unshare(t *testing.T, flags int) {
	t.Helper()
	testcaddy.NeedRoot(t)
	runtime.LockOSThread()
	if err := unix.Unshare(flags); err != nil {
		t.Fatal(err)
	}
}

// runProgram runs a program in the thread's namespaces.
func runProgram(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// becomeNobody takes all rights from the calling thread, and from no other.
func becomeNobody(t *testing.T) {
	t.Helper()
	testcaddy.NeedRoot(t)
	runtime.LockOSThread()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		t.Fatal(errno)
	}
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, errno := unix.RawSyscall(call, nobody, nobody, nobody); errno != 0 {
			t.Fatal(errno)
		}
	}
}

func setSysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
}

// bindRaw binds a target as a server does, with SO_REUSEADDR only, and closes
// the socket again.
func bindRaw(target Target) error {
	return bindWith(target, 0, func(int) error { return nil })
}

func bindWith(target Target, protocol int, prepare func(fd int) error) error {
	family, kind, addr := unix.AF_UNIX, unix.SOCK_STREAM, unix.Sockaddr(&unix.SockaddrUnix{Name: target.Path})
	if target.Network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	if target.Network != "unix" {
		ip, port := target.Addr.Addr(), int(target.Addr.Port())
		if ip.Is4() {
			family, addr = unix.AF_INET, &unix.SockaddrInet4{Addr: ip.As4(), Port: port}
		} else {
			zone, _ := zoneID(ip.Zone())
			family, addr = unix.AF_INET6, &unix.SockaddrInet6{Addr: ip.As16(), Port: port, ZoneId: zone}
		}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := prepare(fd); err != nil {
		return err
	}
	if err := unix.Bind(fd, addr); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if kind == unix.SOCK_DGRAM {
		return nil
	}
	return os.NewSyscallError("listen", unix.Listen(fd, 1))
}

// wantWords checks that a diagnosis is one line, wraps the number and has all
// the words.
func wantWords(t *testing.T, d *Diagnosis, errno syscall.Errno, words ...string) {
	t.Helper()
	if d == nil {
		t.Fatalf("no error, want %v", errno)
	}
	text := d.Error()
	t.Log(text)
	if !errors.Is(d, errno) {
		t.Errorf("%v is not %v", d.Err, errno)
	}
	if strings.Contains(text, "\n") || !strings.HasPrefix(text, d.Target.String()+": ") {
		t.Errorf("not one line that begins with %s: %q", d.Target, text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q is missing in %s", word, text)
		}
	}
}

// bindAndExplain provokes a failure.
func bindAndExplain(t *testing.T, network, address string) *Diagnosis {
	t.Helper()
	target := testTarget(t, network, address)
	return Diagnose(target, bindRaw(target))
}

// addCards adds two interfaces that are up and have no address.
func addCards(t *testing.T, ip string) {
	t.Helper()
	runProgram(t, ip, "link", "add", "card0", "type", "veth", "peer", "name", "card1")
	for _, card := range []string{"card0", "card1"} {
		runProgram(t, ip, "link", "set", card, "addrgenmode", "none")
		runProgram(t, ip, "link", "set", card, "up")
	}
}

// refuseFamily makes socket fail with EAFNOSUPPORT for a family, in this thread.
func refuseFamily(t *testing.T, family uint32) {
	t.Helper()
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SOCKET, Jf: 3},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 16}, // low half of the first argument
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: family, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
		t.Fatal(err)
	}
}
