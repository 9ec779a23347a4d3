package testcaddy

import (
	"net"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// NeedRoot skips a test that only root can run; with CI=true, it fails.
func NeedRoot(t testing.TB) {
	t.Helper()
	switch {
	case os.Geteuid() == 0:
	case os.Getenv("CI") == "true":
		t.Fatal("this test needs root")
	default:
		t.Skip("this test needs root")
	}
}

// DialAs connects to a Unix socket as another user and group. Those of a
// thread count, which is given up afterwards.
func DialAs(path string, uid, gid int) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock
		// the functions of these names change all threads
		for _, call := range []struct{ number, id int }{{unix.SYS_SETRESGID, gid}, {unix.SYS_SETRESUID, uid}} {
			id := uintptr(call.id)
			if _, _, errno := unix.RawSyscall(uintptr(call.number), id, id, id); errno != 0 {
				err = errno
				return
			}
		}
		conn, err = net.Dial("unix", path)
	}()
	<-done
	return conn, err
}
