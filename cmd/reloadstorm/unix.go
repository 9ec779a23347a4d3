//go:build unix

package main

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// reloadSignal is how HAProxy's master process is told to reload.
const reloadSignal = syscall.SIGUSR2

func needsReusePort() string { return "" }

// reusePort lets processes share a port.
func reusePort(_, _ string, c syscall.RawConn) error {
	var err error
	if controlErr := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); controlErr != nil {
		return controlErr
	}
	return err
}

// maxDescriptors returns how many descriptors a process may have.
func maxDescriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) //nolint:unconvert // signed on FreeBSD
}
