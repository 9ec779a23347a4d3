//go:build darwin || freebsd

package listeners

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

const abstractSockets = false

// closeToOthers does nothing: bind goes by the umask alone here, which belongs
// to the whole process and is usually one that lets nobody else write.
func closeToOthers(int) error { return nil }

// openNoFollow opens the folder of a file: a socket's file cannot be opened.
func openNoFollow(path string) (int, error) {
	return unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

func statNoFollow(fd int, path string, stat *unix.Stat_t) error {
	return unix.Fstatat(fd, filepath.Base(path), stat, unix.AT_SYMLINK_NOFOLLOW)
}

func chmodNoFollow(fd int, path string, mode uint32) error {
	return unix.Fchmodat(fd, filepath.Base(path), mode, unix.AT_SYMLINK_NOFOLLOW)
}

func chownNoFollow(fd int, path string, uid, gid int) error {
	return unix.Fchownat(fd, filepath.Base(path), uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}
