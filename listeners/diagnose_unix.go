//go:build linux || darwin || freebsd

package listeners

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// errnoOf returns the number that an error wraps, or 0.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && isInterfaceMissing(op) {
		return syscall.ENODEV
	}
	return 0
}

// deniedFolder returns the first folder above a path that this process may not
// search, or else the innermost if it may not write to it, and which of the two
// it is. It returns "" if neither is so.
func deniedFolder(path string) (folder, right string) {
	folders := foldersOf(path)
	for _, folder := range folders {
		if errors.Is(unix.Faccessat(unix.AT_FDCWD, folder, unix.X_OK, unix.AT_EACCESS), unix.EACCES) {
			return folder, "searched"
		}
	}
	last := nearestFolder(path) // where mkdir= would have to write
	if errors.Is(unix.Faccessat(unix.AT_FDCWD, last, unix.W_OK, unix.AT_EACCESS), unix.EACCES) {
		return last, "written to"
	}
	return "", ""
}

// describeOwner returns " (root:root, 0755)" for a file.
func describeOwner(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	owner, group := userName(int(stat.Uid)), strconv.Itoa(int(stat.Gid))
	if owner == "" {
		owner = strconv.Itoa(int(stat.Uid))
	}
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return fmt.Sprintf(" (%s:%s, %04o)", owner, group, stat.Mode&0o7777)
}

// openFilesLimit returns " (1024)", the limit of open files.
func openFilesLimit() string {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return ""
	}
	return fmt.Sprintf(" (%d)", limit.Cur)
}

func longestSocketPath() int { return longestPath }
