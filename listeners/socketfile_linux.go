package listeners

import (
	"strconv"

	"golang.org/x/sys/unix"
)

const abstractSockets = true

// closeToOthers has bind make a file that only its owner may use, whatever the
// umask: the kernel takes the mode from the socket's own inode.
func closeToOthers(fd int) error { return unix.Fchmod(fd, 0o600) }

// openNoFollow opens a file so that it can be changed even if another one
// takes its name meanwhile.
func openNoFollow(path string) (int, error) {
	return unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func statNoFollow(fd int, _ string, stat *unix.Stat_t) error { return unix.Fstat(fd, stat) }

// chmodNoFollow changes the mode through /proc, as fchmod does not take a
// descriptor of O_PATH.
func chmodNoFollow(fd int, _ string, mode uint32) error {
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

func chownNoFollow(fd int, _ string, uid, gid int) error {
	return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
}
