package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// A port that is checked is never open: a client that connects all the time
// does not get in, in 50 checks.
func TestCheckLeavesThePortClosed(t *testing.T) {
	t.Parallel()
	// others are kept from the port by a socket that is bound but does not
	// listen, which two that reuse the address may both be
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(name.(*unix.SockaddrInet4).Port)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var in, refused atomic.Int64
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			dialer := net.Dialer{Timeout: 100 * time.Millisecond}
			conn, err := dialer.Dial("tcp", "127.0.0.1:"+port)
			if err == nil {
				in.Add(1)
				conn.Close()
				continue
			}
			refused.Add(1)
		}
	}()
	args := make([]string, 10)
	for i := range args {
		args[i] = "ipv4/127.0.0.1:" + port
	}
	for range 5 {
		checkWant(t, t.TempDir(), 0, args, "ok      tcp 127.0.0.1:"+port)
	}
	cancel()
	<-done
	if in.Load() != 0 || refused.Load() == 0 {
		t.Errorf("%d connections got in, %d did not", in.Load(), refused.Load())
	}
}

// checkNobody is `caddy gin check` by a user without any right. The test needs
// root for it.
func checkNobody(t *testing.T, dir string, code int, args []string, says ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, "caddy"), append([]string{"gin", "check"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	stdout, stderr, got := checkCommand(t, dir, cmd)
	if got != code {
		t.Errorf("%v: exit code %d, want %d:\n%s%s", args, got, code, stdout, stderr)
	}
	for _, part := range says {
		if !strings.Contains(stdout, part) {
			t.Errorf("%v: want %q:\n%s%s", args, part, stdout, stderr)
		}
	}
}

func TestCheckWithoutRights(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir, err := os.MkdirTemp("", "ck") // all may search it, other than t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	checkMust(t, os.Chmod(dir, 0o755))
	binary, err := os.ReadFile(testcaddy.Binary(t))
	checkMust(t, err)
	checkMust(t, os.WriteFile(filepath.Join(dir, "caddy"), binary, 0o755)) //nolint:gosec // all may run it
	for name, mode := range map[string]os.FileMode{"closed": 0o700, "readonly": 0o755, "open": 0o777, "sticky": 0o777 | os.ModeSticky} {
		checkMust(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		checkMust(t, os.Chmod(filepath.Join(dir, name), mode))
	}
	for _, name := range []string{"sticky", "open"} {
		ln, err := net.Listen("unix", filepath.Join(dir, name, "left"))
		checkMust(t, err)
		ln.(*net.UnixListener).SetUnlinkOnClose(false)
		ln.Close()
		checkMust(t, os.Chmod(filepath.Join(dir, name, "left"), 0o777))
	}
	live, err := net.Listen("unix", filepath.Join(dir, "open", "live"))
	checkMust(t, err)
	defer live.Close()
	checkMust(t, os.Chmod(filepath.Join(dir, "open", "live"), 0o600))
	unixsock := "unixsock/" + dir
	me := "(user nobody, uid 65534)"

	start, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	checkMust(t, err)
	if first, err := strconv.Atoi(strings.TrimSpace(string(start))); err == nil && first > 1 {
		checkNobody(t, dir, 1, []string{"ipv4/127.0.0.1:1"}, "CAP_NET_BIND_SERVICE", me, "remedy: `setcap cap_net_bind_service=+ep "+dir+"/caddy`")
	}
	checkNobody(t, dir, 0, []string{"ipv4/127.0.0.1:0", unixsock + "/open/new"})
	checkNobody(t, dir, 1, []string{"ipv4/127.0.0.1?mark=5:0"}, "option mark=5 needs the capability CAP_NET_ADMIN")
	checkNobody(t, dir, 1, []string{unixsock + "/closed/x"}, "directory "+dir+"/closed (root:root, 0700) may not be searched by this process "+me)
	checkNobody(t, dir, 1, []string{unixsock + "/readonly/x"}, "directory "+dir+"/readonly (root:root, 0755) may not be written to by this process "+me)
	checkNobody(t, dir, 1, []string{unixsock + "/readonly/x/y?mkdir=0700"}, "/readonly (root:root, 0755) may not be written to")
	checkNobody(t, dir, 0, []string{unixsock + "/open/x/y?mkdir=0700"}, "would be made in "+dir+"/open with mode 0700")
	checkNobody(t, dir, 1, []string{unixsock + "/open/x?user=root"}, "this process "+me+" may not give a socket to user root, uid 0")
	checkNobody(t, dir, 1, []string{unixsock + "/open/x?group=root"}, "may not give a socket to group 0")
	checkNobody(t, dir, 0, []string{unixsock + "/open/x?group=65534"})
	checkNobody(t, dir, 0, []string{unixsock + "/open/left"}, "left over there, and would be removed")
	checkNobody(t, dir, 1, []string{unixsock + "/sticky/left"}, "(sticky bit) only its owner may remove (user root, uid 0)")
	checkNobody(t, dir, 1, []string{unixsock + "/open/live"}, "in use by ", "on "+dir+"/open/live")
	// what the check says is what a start finds
	for _, name := range []string{"left", "live"} {
		if _, err := os.Lstat(filepath.Join(dir, "open", name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "open", "new")); !os.IsNotExist(err) {
		t.Errorf("the check has made a file: %v", err)
	}
}

func checkMust(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckSystemdSockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	checkWant(t, dir, 1, []string{"systemd/web:80"}, "blocked systemd systemd/web", "LISTEN_FDS is not set",
		"`systemd-socket-activate -l 80 --fdname=web caddy run`", "a check from a shell never sees them")
	program := testcaddy.Program(t, "systemd-socket-activate")
	port := checkFreePort(t)
	address := "127.0.0.1:" + strconv.Itoa(port)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-l", address, "--fdname=web", "-E", "HOME", testcaddy.Binary(t),
		"gin", "check", fmt.Sprintf("systemd/web:%d", port), fmt.Sprintf("systemd/web:%d", port+1), "systemd/other:80")
	// it starts the program at the first connection
	connected := make(chan bool, 1)
	go func() {
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if conn, err := net.Dial("tcp", address); err == nil {
				conn.Close()
				connected <- true
				return
			}
		}
		connected <- false
	}()
	stdout, stderr, code := checkCommand(t, dir, cmd)
	if !<-connected || code != 1 {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	for _, part := range []string{
		fmt.Sprintf("systemd/web:%d: can be bound\n  ok      tcp %s, IPv4 only\n      note: passed by systemd\n", port, address),
		fmt.Sprintf("no socket of that name is at port %d; systemd passed web (tcp %s)", port+1, address),
		"systemd passed no socket of that name; it passed web (tcp " + address + ")",
	} {
		if !strings.Contains(stdout, part) {
			t.Errorf("want %q: %s%s", part, stdout, stderr)
		}
	}
}
