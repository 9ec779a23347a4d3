//go:build linux || darwin || freebsd

package listeners

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socketFile is the file of a Unix socket of ours.
type socketFile struct {
	path    string
	info    fs.FileInfo // of the file that bind made
	folders []string    // that were made for it, outermost first
	others  bool        // it belongs to another process; guarded by the pool's mutex
	config  context.Context
}

// identify remembers the file, which bind has just made.
func (f *socketFile) identify() (err error) {
	f.info, err = os.Lstat(f.path)
	return err
}

// exists reports whether the file is still the one that bind made.
func (f *socketFile) exists() bool {
	now, err := os.Lstat(f.path)
	return err == nil && os.SameFile(f.info, now)
}

// remove removes the file if it is still the one that bind made.
func (f *socketFile) remove() {
	if f.others {
		return
	}
	if f.info != nil && f.exists() {
		_ = os.Remove(f.path)
	}
	if f.loadFailed() {
		f.removeFolder()
	}
}

// own gives the file its owner and its mode.
func (f *socketFile) own(options Options) error {
	uid, gid, err := f.owner(options)
	if err != nil {
		return err
	}
	fd, err := openNoFollow(f.path)
	if err != nil {
		return &fs.PathError{Op: "open", Path: f.path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := statNoFollow(fd, f.path, &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: f.path, Err: err}
	}
	if made := f.stat(); stat.Dev != made.Dev || stat.Ino != made.Ino {
		return fmt.Errorf("%s is not the socket any more that was made there; somebody has replaced it", f.path)
	}
	mode := uint32(options.number(modeOption))
	if int64(stat.Uid) != int64(uid) || int64(stat.Gid) != int64(gid) {
		// nobody new is let in between the two steps
		if err := chmodNoFollow(fd, f.path, mode&uint32(stat.Mode)&0o700); err != nil { //nolint:unconvert // 16 bits on other systems
			return &fs.PathError{Op: "chmod", Path: f.path, Err: err}
		}
		if err := chownNoFollow(fd, f.path, uid, gid); err != nil {
			_ = chmodNoFollow(fd, f.path, uint32(stat.Mode)&0o777) //nolint:unconvert // 16 bits on macOS and FreeBSD
			return &fs.PathError{Op: "chown", Path: f.path, Err: fmt.Errorf("%w; giving a socket to another user or group takes root, or CAP_CHOWN, or membership in the group", err)}
		}
	}
	if err := chmodNoFollow(fd, f.path, mode); err != nil {
		return &fs.PathError{Op: "chmod", Path: f.path, Err: err}
	}
	return nil
}

// stat returns what bind made.
func (f *socketFile) stat() *syscall.Stat_t { return f.info.Sys().(*syscall.Stat_t) }

// owner returns the numbers of the user and the group that the file is to
// have: where options say nothing, those that bind gave it.
func (f *socketFile) owner(options Options) (uid, gid int, err error) {
	uid, gid, err = fileOwner(options)
	if uid < 0 {
		uid = int(f.stat().Uid)
	}
	if gid < 0 {
		gid = int(f.stat().Gid)
	}
	return uid, gid, err
}

// fileOwner returns the numbers of the user and the group of options, -1 for one
// that is not among them.
func fileOwner(options Options) (uid, gid int, err error) {
	uid, gid = -1, -1
	if name := options["user"].Text; name != "" {
		if uid, err = lookUp("user", name, func() (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}); err != nil {
			return uid, gid, err
		}
	}
	if name := options["group"].Text; name != "" {
		gid, err = lookUp("group", name, func() (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		})
	}
	return uid, gid, err
}

// lookUp returns the number of a user or a group. A name goes before a number.
func lookUp(option, name string, find func() (string, error)) (int, error) {
	id, err := find()
	if err != nil {
		id = name
	}
	n, notANumber := strconv.ParseUint(id, 10, 31)
	if notANumber != nil {
		return -1, &OptionError{Name: option, Value: name, Err: errors.Join(err)}
	}
	return int(n), nil
}

// makeFolder makes the folder of the socket if mkdir asks for it.
func (f *socketFile) makeFolder(options Options) error {
	mode, ok := options["mkdir"]
	if !ok {
		return nil
	}
	var missing []string
	for folder := filepath.Dir(f.path); ; folder = filepath.Dir(folder) {
		_, err := os.Stat(folder)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || folder == filepath.Dir(folder) {
			return err
		}
		missing = append([]string{folder}, missing...)
	}
	uid, gid, err := fileOwner(options)
	if err != nil {
		return err
	}
	for _, folder := range missing {
		err := os.Mkdir(folder, fs.FileMode(mode.N)&0o700)
		if errors.Is(err, fs.ErrExist) {
			continue // another process was faster; it is not ours
		}
		if err == nil {
			f.folders = append(f.folders, folder)
			err = giveFolder(folder, uint32(mode.N), uid, gid)
		}
		if err != nil {
			f.removeFolder()
			return &OptionError{Name: "mkdir", Value: mode.Text, Err: err}
		}
	}
	return nil
}

// giveFolder gives a folder that was just made its owner and its mode.
func giveFolder(folder string, mode uint32, uid, gid int) error {
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &fs.PathError{Op: "open", Path: folder, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	if uid >= 0 || gid >= 0 {
		if err := unix.Fchown(fd, uid, gid); err != nil {
			return &fs.PathError{Op: "chown", Path: folder, Err: err}
		}
	}
	if err := unix.Fchmod(fd, mode); err != nil { // whatever the umask says
		return &fs.PathError{Op: "chmod", Path: folder, Err: err}
	}
	return nil
}

// removeFolder removes the folders that were made, because the socket could
// not be.
func (f *socketFile) removeFolder() {
	for i := len(f.folders) - 1; i >= 0; i-- {
		if os.Remove(f.folders[i]) != nil { // somebody has put something there
			return
		}
		f.folders = f.folders[:i]
	}
}

// failedLoad is how Caddy says why it cancels a configuration that did not
// start. If it says so in other words one day, the folders stay.
const failedLoad = "configuration start error"

// loadFailed reports whether the configuration that made the file came to
// nothing.
func (f *socketFile) loadFailed() bool {
	cause := context.Cause(f.config)
	return cause != nil && strings.HasPrefix(cause.Error(), failedLoad)
}

// watchLoad removes the folders if the configuration fails to load after the
// socket was closed: Caddy stops what has started before it says so. If it
// says so first, remove does it.
func (f *socketFile) watchLoad() {
	if len(f.folders) == 0 {
		return
	}
	context.AfterFunc(f.config, func() {
		sockets.mu.Lock()
		defer sockets.mu.Unlock()
		if f.loadFailed() && !f.exists() {
			f.removeFolder()
		}
	})
}
