//go:build linux || darwin || freebsd

package listeners

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// path checks a Unix socket. Nothing is made or removed: what can be seen is
// looked at, in the order in which openUnix would fail.
func (c checker) path(t Target, options Options) TargetReport {
	r := reportOn(t)
	if _, same := sockets.have(t); same {
		r.OK = true
		r.note("this process has it open, and its configurations share it")
		return r
	}
	r.judge(t, r.lookAt(t, options))
	return r
}

func (r *TargetReport) lookAt(t Target, options Options) error {
	if _, err := shortPath(t.Path); err != nil {
		return err
	}
	uid, gid, err := fileOwner(options)
	if err != nil {
		return err
	}
	if strings.HasPrefix(t.Path, "@") {
		return probeName(t)
	}
	folder, err := r.folder(t, options)
	if err != nil {
		return err
	}
	if err := r.leftOver(t, folder); err != nil {
		return err
	}
	return owners(t, folder, uid, gid)
}

// probeName binds an abstract name for a moment. As it does not listen, it
// refuses clients as if nobody had it.
func probeName(t Target) error {
	fd, err := newFD(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	addr, err := sockaddr(t)
	if err != nil {
		return err
	}
	return os.NewSyscallError("bind", unix.Bind(fd, addr))
}

// folder looks at the folder of the socket, or if it would have to be made, at
// the one in which. It returns nothing about one that is not there.
func (r *TargetReport) folder(t Target, options Options) (fs.FileInfo, error) {
	folder := filepath.Dir(t.Path)
	info, err := os.Stat(folder)
	mode, mkdir := options["mkdir"]
	if errors.Is(err, fs.ErrNotExist) && mkdir {
		above := nearestFolder(t.Path)
		if err := mayWrite(above); err != nil {
			return nil, err
		}
		r.note("directory " + folder + " does not exist, and would be made in " + above + " with mode " + mode.Text)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: folder, Err: syscall.ENOTDIR}
	}
	return info, mayWrite(folder)
}

// mayWrite returns why no file could be made in a folder.
func mayWrite(folder string) error {
	if err := unix.Faccessat(unix.AT_FDCWD, folder, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "access", Path: folder, Err: err}
	}
	return nil
}

// leftOver looks at what is at the path.
func (r *TargetReport) leftOver(t Target, folder fs.FileInfo) error {
	if folder == nil {
		return nil
	}
	info, err := os.Lstat(t.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if kind := kindOf(info.Mode()); kind != "" {
		return &Diagnosis{Target: t, Err: &inTheWay{path: t.Path, what: kind},
			Reason: kind + " is at the path, which is not removed", Remedy: "remove it yourself, or use another path"}
	}
	// a server that can be seen need not be disturbed by a connection
	if slices.ContainsFunc(heldBy(t), func(h held) bool { return !h.idle }) {
		return os.NewSyscallError("bind", syscall.EADDRINUSE)
	}
	if err := probeUnix(t.Path); err != nil {
		return err
	}
	owner := ownerOf(info)
	if euid := os.Geteuid(); folder.Mode()&fs.ModeSticky != 0 && owner != euid && ownerOf(folder) != euid && !mayRemoveAll() {
		return &Diagnosis{Target: t, Err: &fs.PathError{Op: "remove", Path: t.Path, Err: syscall.EPERM},
			Reason: "a socket that nobody serves is left over there, which in " + filepath.Dir(t.Path) + " (sticky bit) only its owner may remove (" + describeUser(owner) + ")",
			Remedy: "remove it as that user or as root, or use another path"}
	}
	r.note("a socket that nobody serves is left over there, and would be removed")
	return nil
}

func ownerOf(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}

// owners returns why the socket could not be given to a user or a group.
func owners(t Target, folder fs.FileInfo, uid, gid int) error {
	if mayGiveAway() {
		return nil
	}
	var what string
	switch {
	case uid >= 0 && uid != os.Geteuid():
		what = describeUser(uid)
	case gid >= 0 && gid != os.Getegid() && !inherits(folder, gid) && !inGroup(gid):
		what = "group " + strconv.Itoa(gid)
	default:
		return nil
	}
	return &Diagnosis{Target: t, Err: &fs.PathError{Op: "chown", Path: t.Path, Err: syscall.EPERM},
		Reason: fmt.Sprintf("this process (%s) may not give a socket to %s", describeUser(os.Geteuid()), what),
		Remedy: "start Caddy as root, give it CAP_CHOWN, or for a group make its user a member"}
}

// inherits reports whether a folder gives its group to new files.
func inherits(folder fs.FileInfo, gid int) bool {
	if folder == nil || folder.Mode()&fs.ModeSetgid == 0 {
		return false
	}
	stat, ok := folder.Sys().(*syscall.Stat_t)
	return ok && int(stat.Gid) == gid
}

func inGroup(gid int) bool {
	groups, err := os.Getgroups()
	return err == nil && slices.Contains(groups, gid)
}
