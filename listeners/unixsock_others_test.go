//go:build linux

package listeners

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// eventually waits until cond is true, for what no event announces.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// bindForeign binds a socket that is not of this package. It listens if its
// backlog is not negative.
func bindForeign(t *testing.T, path string, kind, backlog int) {
	t.Helper()
	fd, err := newFD(unix.AF_UNIX, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if backlog >= 0 {
		if err := unix.Listen(fd, backlog); err != nil {
			t.Fatal(err)
		}
	}
}

func TestUnixLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	own := "(pid " + strconv.Itoa(os.Getpid()) + ")"
	for name, c := range map[string]struct {
		make func(t *testing.T, dir, path string) error
		says []string
	}{
		"regular file": {func(_ *testing.T, _, path string) error { return os.WriteFile(path, []byte("precious"), 0o600) },
			[]string{"is a regular file, which is not removed", "use another path"}},
		"directory": {func(_ *testing.T, _, path string) error { return os.Mkdir(path, 0o700) }, []string{"is a directory, which is not removed"}},
		"dangling symlink": {func(_ *testing.T, _, path string) error { return os.Symlink("nowhere", path) },
			[]string{"is a symbolic link, which is not removed"}},
		"symlink to a file": {func(_ *testing.T, dir, path string) error {
			return errors.Join(os.WriteFile(dir+"/file", []byte("precious"), 0o600), os.Symlink("file", path))
		}, []string{"is a symbolic link, which is not removed"}},
		"symlink to a left-over": {func(t *testing.T, dir, path string) error {
			leaveSocket(t, dir+"/left")
			return os.Symlink("left", path)
		}, []string{"is a symbolic link, which is not removed"}},
		"fifo":     {func(_ *testing.T, _, path string) error { return unix.Mkfifo(path, 0o600) }, []string{"is a named pipe, which is not removed"}},
		"stream":   {func(t *testing.T, _, path string) error { bindForeign(t, path, unix.SOCK_STREAM, 5); return nil }, []string{"in use by", own}},
		"datagram": {func(t *testing.T, _, path string) error { bindForeign(t, path, unix.SOCK_DGRAM, -1); return nil }, []string{"in use by", own}},
		"packets":  {func(t *testing.T, _, path string) error { bindForeign(t, path, unix.SOCK_SEQPACKET, 5); return nil }, []string{"in use by", own}},
		"full queue": {func(t *testing.T, _, path string) error {
			bindForeign(t, path, unix.SOCK_STREAM, 0)
			for range 10 {
				fd, err := newFD(unix.AF_UNIX, unix.SOCK_STREAM, 0)
				if err != nil {
					return err
				}
				t.Cleanup(func() { _ = unix.Close(fd) })
				if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); errors.Is(err, unix.EAGAIN) {
					return nil
				}
			}
			return errors.New("the queue takes ten connections")
		}, []string{"in use by", own}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shortDir(t)
			path := filepath.Join(dir, "a.sock")
			if err := c.make(t, dir, path); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			wantRefusal(t, path+"?mkdir=0700|0600", append(c.says, path)...)
			now, err := os.Lstat(path)
			if err != nil || !os.SameFile(info, now) || now.Mode() != info.Mode() || now.Size() != info.Size() {
				t.Errorf("%v was there, now it is %v, %v", info, now, err)
			}
			if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
				t.Errorf("%v were there, now %v, %v", before, after, err)
			}
		})
	}
}

// leaveSocket leaves the file of a socket whose process is gone.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnixLeftOverIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "a.sock")
	leaveSocket(t, path)
	wantServed(t, mustListen(t, path), path)
}

func TestUnixSocketThatIsOutOfReach(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir := shortDir(t)
	path := filepath.Join(dir, "a.sock")
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	leaveSocket(t, path) // it could be removed, but who knows
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		becomeNobody(t)
		wantRefusal(t, path, "may not connect to", "use another path")
	}()
	<-done
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestUnixFileIsReplacedBySomebody(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "a.sock")
	first := mustListen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := mustListen(t, path) // a reload
	wantServed(t, second, path)
	_ = first.Close()
	wantServed(t, second, path)

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	bindForeign(t, path, unix.SOCK_STREAM, 5)
	wantRefusal(t, path+"|0600", "in use by")
	_ = second.Close()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal("the file of another server was removed with ours:", err)
	}
	if info.Mode().Perm() == 0o600 {
		t.Error("the file of another server got our mode")
	}
	if err := connectUnix(path); err != nil {
		t.Error(err)
	}
}

// TestUnixModeOfAnotherFileStays guards a file that took the place of ours
// between two looks at it.
func TestUnixModeOfAnotherFileStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "a.sock")
	ln := mustListen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	bindForeign(t, path, unix.SOCK_STREAM, 5)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	file := ln.handles[0].socket.file
	if err := file.own(Options{modeOption: {N: 0o600}}); err == nil {
		t.Error("the file of another server was changed")
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
