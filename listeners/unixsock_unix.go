//go:build linux || darwin || freebsd

package listeners

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// longestPath is how many bytes a path may have: the kernel's field less the
// zero at its end.
const longestPath = len(unix.RawSockaddrUnix{}.Path) - 1

// openUnix binds a Unix socket, gives its file the owner and the mode that are
// asked for, and only then listens: connecting to a socket that is bound but
// does not listen is refused, so nobody gets in before the permissions hold.
// That alone would not do where the file is wide open at first, as a connect
// checks the permissions before it looks whether anybody listens, and may be
// interrupted in between; see closeToOthers.
func openUnix(ctx context.Context, t Target, options Options) (*socket, error) {
	if _, err := shortPath(t.Path); err != nil {
		return nil, err
	}
	if strings.HasPrefix(t.Path, "@") {
		k, err := bindUnix(t, options, nil)
		if err != nil {
			return nil, err
		}
		return &socket{kernel: *k, target: t, options: options}, nil
	}
	file := &socketFile{path: t.Path, config: ctx}
	if err := file.makeFolder(options); err != nil {
		return nil, err
	}
	k, err := file.bind(ctx, t, options)
	if err != nil {
		file.removeFolder()
		return nil, err
	}
	file.watchLoad()
	return &socket{kernel: *k, target: t, options: options}, nil
}

// shortPath returns the path as the kernel gets it: as it is, or if that is
// too long, from the working directory. It refuses what the kernel would, with
// more than EINVAL.
func shortPath(path string) (string, error) {
	if strings.HasPrefix(path, "@") && !abstractSockets {
		return "", errors.New("abstract sockets exist on Linux only; use a path")
	}
	if len(path) <= longestPath {
		return path, nil
	}
	if wd, err := workingFolder(); err == nil {
		if short, err := filepath.Rel(wd, path); err == nil && len(short) <= longestPath {
			return short, nil
		}
	}
	return "", fmt.Errorf("the path has %d bytes, and the path of a socket at most %d: use a shorter one, such as /run/%s",
		len(path), longestPath, abbreviate(filepath.Base(path)))
}

// workingFolder returns the working directory as the kernel knows it, without
// the symbolic links of $PWD: the path back up from it would lead elsewhere.
func workingFolder() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(wd)
}

// abbreviate returns a name for a socket that is not too long.
func abbreviate(name string) string {
	if len(name) > 32 {
		return "app.sock"
	}
	return name
}

// bind does what must not be done by two processes at once: it looks at what
// is there, and puts a listening socket in its place. A lock on the folder
// holds until the socket listens, as one that is bound only looks like a
// left-over.
func (f *socketFile) bind(ctx context.Context, t Target, options Options) (*kernel, error) {
	unlock, err := lockFolder(ctx, filepath.Dir(f.path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeLeftOver(f.path); err != nil {
		return nil, err
	}
	return bindUnix(t, options, f)
}

func bindUnix(t Target, options Options, file *socketFile) (_ *kernel, err error) {
	fd, err := newFD(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	k := &kernel{fd: fd, family: unix.AF_UNIX}
	defer func() {
		if err != nil {
			k.close()
		}
	}()
	addr, err := sockaddr(t)
	if err != nil {
		return nil, err
	}
	if file != nil {
		if err := closeToOthers(fd); err != nil {
			return nil, os.NewSyscallError("fchmod", err)
		}
	}
	if err := unix.Bind(fd, addr); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	if file != nil {
		if err := file.identify(); err != nil {
			return nil, err
		}
		k.file = file
		if err := file.own(options); err != nil {
			return nil, err
		}
	}
	return k, os.NewSyscallError("listen", unix.Listen(fd, backlog(options)))
}

// lockFolder locks a folder against other processes that do the same.
func lockFolder(ctx context.Context, folder string) (unlock func(), err error) {
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) {
		// a folder that may be searched and written, but not read, cannot be
		// locked; whether the socket may be bound is seen then
		return func() {}, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: folder, Err: err}
	}
	const patience = 10 * time.Second // binding takes milliseconds
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = unix.Close(fd) }, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			// a file system without locks
			return func() { _ = unix.Close(fd) }, nil
		}
		select {
		case <-ctx.Done():
			_ = unix.Close(fd)
			return nil, fmt.Errorf("another process has held a lock on %s for %s", folder, patience)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// removeLeftOver removes a socket that nobody serves. Everything else stays,
// and is an error.
func removeLeftOver(path string) error {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if kind := kindOf(before.Mode()); kind != "" {
		return &inTheWay{path: path, what: kind}
	}
	if err := probeUnix(path); err != nil {
		return err
	}
	now, err := os.Lstat(path)
	if err != nil || !os.SameFile(before, now) {
		return &inTheWay{path: path, what: "a socket that another process has just made"}
	}
	return os.Remove(path)
}

// kindOf names what is not a socket; it is "" for a socket.
func kindOf(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeSocket:
		return ""
	case 0:
		return "a regular file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	}
	return "a device"
}

// inTheWay is something at the path of a socket that is not removed.
type inTheWay struct{ path, what string }

func (e *inTheWay) Error() string {
	return fmt.Sprintf("%s is %s, which is not removed; remove it yourself, or use another path", e.path, e.what)
}

// probeUnix tells whether somebody serves a socket: nil means that nobody
// does.
func probeUnix(path string) error {
	fd, err := newFD(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	addr, err := sockaddr(Target{Network: "unix", Path: path})
	if err != nil {
		return err
	}
	err = unix.Connect(fd, addr)
	switch {
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return &fs.PathError{Op: "connect to the socket", Path: path, Err: err} // it counts as served
	}
	// connected; its queue is full (EAGAIN); or it is of another type (EPROTOTYPE)
	return os.NewSyscallError("bind", syscall.EADDRINUSE)
}
