package listeners

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// nobody is the uid of a user without rights.
const nobody = 65534

// Tests change their thread's namespaces and user; the process' first thread,
// which /proc shows as the process, must not be one of them.
func init() { runtime.LockOSThread() }

// holderChild is the variable that makes the test binary a child process: what
// it is to do, and on what.
const holderChild = "LISTENERS_HOLDER_CHILD"

// TestHolderChild is no test: it is what child processes run.
func TestHolderChild(t *testing.T) {
	action, argument, ok := strings.Cut(os.Getenv(holderChild), " ")
	if !ok {
		t.Skip("only for child processes")
	}
	answer := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("\nanswer %s\n", text)
	}
	switch network, address, _ := strings.Cut(argument, " "); action {
	case "listen":
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
				_, _ = conn.Write([]byte{1}) // it has been accepted, and stays open
			}
		}()
		answer(ln.Addr().String())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
	case "holders":
		answer(Holders(testTarget(t, network, address)))
	case "diagnose":
		target := testTarget(t, network, address)
		answer(Diagnose(target, bindRaw(target)).Error())
	case "files":
		limit := unix.Rlimit{Cur: 64, Max: 64}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		target := testTarget(t, "tcp", "127.0.0.1:0")
		for range 100 {
			if _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
				answer(Diagnose(target, os.NewSyscallError("socket", err)).Error())
				return
			}
		}
		t.Fatal("no limit")
	}
}

// startChild runs the test binary as another user until the end of the test,
// decodes its answer, and returns its pid.
func startChild(t *testing.T, uid uint32, dir, action string, answer any) int {
	t.Helper()
	testcaddy.NeedRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHolderChild$")
	cmd.Env = append(os.Environ(), holderChild+"="+action)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	var output strings.Builder
	for lines := bufio.NewScanner(io.TeeReader(out, &output)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "answer "); ok {
			if err := json.Unmarshal([]byte(text), answer); err != nil {
				t.Fatal(err)
			}
			return cmd.Process.Pid
		}
	}
	t.Fatalf("no answer of the child process: %s", output.String())
	return 0
}

// testTarget makes a target of an address.
func testTarget(t *testing.T, network, address string) Target {
	t.Helper()
	if network == "unix" {
		return Target{Network: network, Path: address}
	}
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return Target{Network: network, Addr: addr}
}

// listenOn listens until the end of the test and returns the port.
func listenOn(t *testing.T, network, address string) string {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return portOf(ln.Addr().String())
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// shortDir is a temporary folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "h")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
