package listeners

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestDiagnosePathTaken(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", path("link")); err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path("left"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	wantWords(t, bindAndExplain(t, "unix", path("left")), syscall.EADDRINUSE, "in use by this process (pid ", "another")
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	// a child process that another test starts has the descriptor until its exec
	for deadline := time.Now().Add(time.Minute); len(Holders(testTarget(t, "unix", path("left")))) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the socket is still held")
		}
		runtime.Gosched()
	}
	wantWords(t, bindAndExplain(t, "unix", path("left")), syscall.EADDRINUSE, "the path exists, a socket", "`ss -lxp src "+path("left")+"`")
	wantWords(t, bindAndExplain(t, "unix", path("file")), syscall.EADDRINUSE, "is a regular file, not a socket")
	wantWords(t, bindAndExplain(t, "unix", path("link")), syscall.EADDRINUSE, "is a symbolic link, not a socket")
	wantWords(t, bindAndExplain(t, "unix", dir), syscall.EADDRINUSE, "is a directory, not a socket")
}

func TestDiagnoseFolderRights(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir := shortDir(t)
	open, shut := filepath.Join(dir, "open"), filepath.Join(dir, "shut")
	for _, folder := range []string{open, shut, filepath.Join(shut, "below")} {
		if err := os.Mkdir(folder, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for folder, mode := range map[string]os.FileMode{dir: 0o711, open: 0o755, shut: 0o700} {
		if err := os.Chmod(folder, mode); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() { // the test's own thread must still remove the folders
		defer close(done)
		becomeNobody(t)
		wantWords(t, bindAndExplain(t, "unix", open+"/a.sock"), syscall.EACCES,
			"directory "+open+" (root:root, 0755) may not be written to", "uid 65534")
		wantWords(t, bindAndExplain(t, "unix", shut+"/below/a.sock"), syscall.EACCES,
			"directory "+shut+" (root:root, 0700) may not be searched")
		// as mkdir= fails
		made := open + "/new/deep"
		cause := &OptionError{Name: "mkdir", Value: "0750", Err: os.Mkdir(filepath.Dir(made), 0o750)}
		wantWords(t, Diagnose(testTarget(t, "unix", made+"/a.sock"), cause), syscall.EACCES,
			"directory "+open+" (root:root, 0755) may not be written to")
	}()
	<-done
}

// As the liveness probe fails: the socket may not be connected to.
func TestDiagnoseSocketThatMayNotBeProbed(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.sock")
	listenOn(t, "unix", path)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		becomeNobody(t)
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = unix.Close(fd) }()
		cause := fmt.Errorf("probing: %w", unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
		wantWords(t, Diagnose(testTarget(t, "unix", path), cause), syscall.EACCES, "may not connect to", "in use by this process")
	}()
	<-done
}

func TestDiagnosePaths(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"/dangling": "/nonexistent", "/loop": "loop"} {
		if err := os.Symlink(to, dir+link); err != nil {
			t.Fatal(err)
		}
	}
	wantWords(t, bindAndExplain(t, "unix", dir+"/a/b/c.sock"), syscall.ENOENT, "directory "+dir+"/a does not exist", "mkdir=0750")
	wantWords(t, bindAndExplain(t, "unix", dir+"/dangling/c.sock"), syscall.ENOENT, dir+"/dangling is a symbolic link to /nonexistent")
	wantWords(t, bindAndExplain(t, "unix", dir+"/file/c.sock"), syscall.ENOTDIR, dir+"/file is a regular file, not a directory")
	wantWords(t, bindAndExplain(t, "unix", dir+"/loop/c.sock"), syscall.ELOOP, "too many levels of symbolic links")
	long := dir + "/" + strings.Repeat("x", 120)
	wantWords(t, bindAndExplain(t, "unix", long), syscall.EINVAL, fmt.Sprintf("the path has %d bytes", len(long)), "at most 107", "shorter")
}

func TestDiagnoseReadOnly(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir := shortDir(t)
	done := make(chan struct{})
	go func() { // the test's own thread must still remove the folder
		defer close(done)
		unshare(t, unix.CLONE_NEWNS)
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, ""); err != nil {
			t.Error(err)
		}
		wantWords(t, bindAndExplain(t, "unix", dir+"/a.sock"), syscall.EROFS, "read-only at "+dir, "ReadWritePaths=")
	}()
	<-done
}

func TestDiagnoseOpenFiles(t *testing.T) {
	t.Parallel()
	var text string
	startChild(t, 0, "/", "files ", &text)
	for _, word := range []string{"127.0.0.1:0: ", "open files", "(64)", "LimitNOFILE="} {
		if !strings.Contains(text, word) {
			t.Errorf("%q is missing in %s", word, text)
		}
	}
}
