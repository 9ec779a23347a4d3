package upgrade

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// managed reports whether a service manager has started this process that wants to
// have started the main process itself. systemd waits for no other process when it
// stops a service: it would kill the successor in the middle of its requests.
func managed() bool {
	if os.Getenv("NOTIFY_SOCKET") == "" || os.Getpid() == 1 {
		return false
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0) // else nothing tells when the successor ends
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

// besideThis makes the process that a command is going to start a child of this one's
// parent. It returns a function that waits for its end, the status of which only
// the parent learns.
func besideThis(cmd *exec.Cmd) (wait func() error) {
	fd := -1
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT, PidFD: &fd}
	return func() error {
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1) //nolint:gosec // a descriptor
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		return errors.Join(unix.Close(fd), cmd.Wait())
	}
}

// startedBy reports whether a process has started this one: it is its parent, or
// has the same one.
func startedBy(pid int) bool {
	if pid == os.Getppid() {
		return true
	}
	parent, _ := statOf(pid)
	return parent != 0 && parent == os.Getppid()
}

// statOf returns the parent of a process and its start time, or 0 (proc(5)).
func statOf(pid int) (parent int, begun uint64) {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, ok := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	if !ok || len(fields) < 20 {
		return 0, 0
	}
	parent, _ = strconv.Atoi(fields[1])
	begun, _ = strconv.ParseUint(fields[19], 10, 64)
	return parent, begun
}
