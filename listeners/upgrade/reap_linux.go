package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sys/unix"
)

// ReapCommand is the name of the subcommand of `caddy gin` that calls Reap. It is
// not for users.
const ReapCommand = "reap"

// leaving is set when the process ends because it has been replaced.
var leaving atomic.Bool

// Leave ends the process after Run has returned nil and the answer is written.
func Leave() {
	leaving.Store(true)
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
}

// outlive is for process 1, with which a container ends: instead of ending, it
// becomes a small process that waits for the successor. Until then it passes on
// that it is told to end.
func outlive(successor int) {
	if os.Getpid() != 1 {
		return
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	go func() {
		for sig := range signals {
			if !leaving.Load() {
				_ = syscall.Kill(successor, sig.(syscall.Signal))
			}
		}
	}()
	caddy.OnExit(func(context.Context) {
		err := syscall.Exec("/proc/self/exe", []string{start.args[0], "gin", ReapCommand, strconv.Itoa(successor)}, start.env)
		fmt.Fprintf(os.Stderr, "becoming the reaper of process %d: %v\n", successor, err)
	})
}

// Reap is what process 1 does after it has been replaced: it passes signals on to
// the process that serves, and waits for all processes. It returns the exit code
// of the last one that served.
func Reap(pid int) (code int) {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2, unix.SIGCHLD)
	var told syscall.Signal // by which all are to end; 0 for none
	for {
		ended, status := waitFor(pid)
		if ended {
			next := successorBelow()
			if next == 0 {
				return exitCode(status)
			}
			if pid = next; told != 0 {
				_ = syscall.Kill(pid, told)
			}
			continue
		}
		sig := (<-signals).(syscall.Signal)
		switch sig {
		case unix.SIGCHLD:
			continue
		case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
			told = sig
		}
		_ = syscall.Kill(pid, sig)
	}
}

// waitFor collects all processes that have ended, and tells whether one of them is
// the one with an ID, or that one is not a child.
func waitFor(pid int) (ended bool, of syscall.WaitStatus) {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // there is no child
			return true, of
		case got == 0:
			return ended, of
		case got == pid:
			ended, of = true, status
		}
	}
}

// exitCode is the status as shells tell it.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// successorBelow returns the youngest child of this process that was started as a
// successor, or 0: when a process that was replaced ends, the next one becomes a
// child of process 1.
func successorBelow() (youngest int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	var latest uint64
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		args, _ := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		parent, begun := statOf(pid)
		if parent == os.Getpid() && begun >= latest && strings.Contains(string(args), "\x00"+flag+"\x00") {
			youngest, latest = pid, begun
		}
	}
	return youngest
}
