//go:build linux

package listeners

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// mustListen opens a Unix socket until the end of the test.
func mustListen(t *testing.T, host string) *Listener {
	t.Helper()
	ln, err := listenUnix(host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// wantRefusal checks that an address is refused, in one line.
func wantRefusal(t *testing.T, host string, words ...string) {
	t.Helper()
	ln, err := listenUnix(host)
	if err == nil {
		_ = ln.Close()
		t.Errorf("%s was opened", host)
		return
	}
	t.Log(err)
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("not one line: %q", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is missing in %s", word, err)
		}
	}
}

// wantFile checks mode and owner of a file.
func wantFile(t *testing.T, path string, mode uint32, uid, gid uint32) {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		t.Fatal(err)
	}
	if stat.Mode&0o7777 != mode || stat.Uid != uid || stat.Gid != gid {
		t.Errorf("%s has mode %04o and belongs to %d:%d, want %04o and %d:%d", path, stat.Mode&0o7777, stat.Uid, stat.Gid, mode, uid, gid)
	}
}

func wantServed(t *testing.T, ln net.Listener, path string) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = accepted.Close()
}

func wantGone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", path, err)
	}
}

func TestUnixModeAndOwner(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	path := filepath.Join(shortDir(t), "a.sock")
	for _, c := range []struct {
		query    string
		mode     uint32
		uid, gid uint32
	}{
		{"", 0o660, 0, 0},
		{"|0600", 0o600, 0, 0},
		{"|0222", 0o222, 0, 0},
		{"|777", 0o777, 0, 0},
		{"?user=65534", 0o660, 65534, 0},
		{"?group=65534|0620", 0o620, 0, 65534},
		{"?user=65533&group=65534", 0o660, 65533, 65534},
		{"?user=root&group=root", 0o660, 0, 0},
	} {
		ln := mustListen(t, path+c.query)
		wantFile(t, path, c.mode, c.uid, c.gid)
		wantServed(t, ln, path)
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		wantGone(t, path)
	}
	wantRefusal(t, path+"?user=no-such-user", "option user=no-such-user", "unknown user")
	wantRefusal(t, path+"?group=no-such-group", "option group=no-such-group", "unknown group")
	wantGone(t, path)
}

// TestUnixDroppedOwnerGoesBack guards the owner of a live socket: a
// configuration that no longer names one left it to the one before.
func TestUnixDroppedOwnerGoesBack(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	path := filepath.Join(shortDir(t), "a.sock")
	mustListen(t, path)
	second := mustListen(t, path+"?user=65533&group=65534|0600")
	wantFile(t, path, 0o600, 65533, 65534)
	mustListen(t, path+"?group=65534")
	wantFile(t, path, 0o660, 0, 65534)
	third := mustListen(t, path)
	wantFile(t, path, 0o660, 0, 0)
	_ = third.Close()
	wantFile(t, path, 0o660, 0, 65534)
	_ = second.Close()
	wantFile(t, path, 0o660, 0, 65534)
}

// TestUnixRefusedOwnerLeavesMode guards the mode of a live socket: when its
// owner could not be changed, the mode stayed as narrow as it was meant to be
// for a moment.
func TestUnixRefusedOwnerLeavesMode(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "a.sock")
	done := make(chan struct{})
	go func() {
		defer close(done)
		becomeNobody(t)
		ln, err := listenUnix(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = ln.Close() }()
		wantRefusal(t, path+"?user=root", "option user=root needs the capability CAP_CHOWN")
		wantFile(t, path, 0o660, nobody, nobody)
	}()
	<-done
}

func TestUnixFoldersAreMade(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir := shortDir(t)
	path := filepath.Join(dir, "one", "two", "a.sock")
	wantRefusal(t, path, "directory "+filepath.Join(dir, "one")+" does not exist", "mkdir=0750")
	ln := mustListen(t, path+"?user=65533&group=65534&mkdir=02777")
	for _, folder := range []string{"one", "one/two"} { // the umask keeps nothing back
		wantFile(t, filepath.Join(dir, folder), 0o2777, 65533, 65534)
	}
	wantFile(t, dir, 0o700, 0, 0)
	_ = ln.Close()
	wantGone(t, path)
	wantFile(t, filepath.Dir(path), 0o2777, 65533, 65534)
	_ = mustListen(t, path+"?mkdir=0700").Close() // what is there stays as it is
	wantFile(t, filepath.Dir(path), 0o2777, 65533, 65534)
}

// TestUnixFoldersGoWithTheFailure guards the folders that were made for a
// socket that was not.
func TestUnixFoldersGoWithTheFailure(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		becomeNobody(t)
		wantRefusal(t, filepath.Join(dir, "one/two/a.sock")+"?user=root&mkdir=0750", "option mkdir=0750", "one")
	}()
	<-done
	wantGone(t, filepath.Join(dir, "one"))

	// the configuration fails after its socket was opened; Caddy closes that
	// before it says why, or after
	for _, closeFirst := range []bool{true, false} {
		ctx, cancel := context.WithCancelCause(context.Background())
		ln, err := listenUnixFor(ctx, filepath.Join(dir, "one/two/a.sock")+"?mkdir=0750", nil)
		if err != nil {
			t.Fatal(err)
		}
		if closeFirst {
			_ = ln.Close()
		}
		cancel(errors.New(failedLoad + ": another listener"))
		if !closeFirst {
			_ = ln.Close()
		}
		eventually(t, "the folder is removed", func() bool {
			_, err := os.Lstat(filepath.Join(dir, "one"))
			return errors.Is(err, fs.ErrNotExist)
		})
	}
}

func TestUnixPathTooLong(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	most := filepath.Join(dir, strings.Repeat("x", 107-len(dir)-1))
	wantServed(t, mustListen(t, most), most)
	wantRefusal(t, most+"x", "the path has 108 bytes", "at most 107", "/run/app.sock")
	wantRefusal(t, filepath.Join(dir, strings.Repeat("y", 100), "short.sock"), "at most 107", "use a shorter one, such as /run/short.sock")
}

// TestUnixLongPathBelowWorkingDirectory also has a $PWD with a symbolic link,
// from which the way to the path would lead elsewhere.
func TestUnixLongPathBelowWorkingDirectory(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	long := filepath.Join(dir, "deep", strings.Repeat("d", 100))
	link := filepath.Join(dir, "link")
	if err := errors.Join(os.MkdirAll(long, 0o700), os.Symlink(long, link)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ wd, host string }{
		{long, "a.sock"}, {long, long + "/a.sock"}, {link, "a.sock"}, {link, link + "/a.sock"}, {link, "../" + filepath.Base(long) + "/./a.sock"},
	} {
		child := startUnixChild(t, 0, c.wd, "listen "+c.host)
		var answer string
		child.answer(&answer)
		info, err := os.Lstat(filepath.Join(long, "a.sock"))
		if err != nil || info.Mode().Type() != fs.ModeSocket {
			t.Errorf("in %s, %s: %v, %s", c.wd, c.host, err, answer)
		}
		child.stop()
		wantGone(t, filepath.Join(long, "a.sock"))
	}
}

func TestUnixAbstractName(t *testing.T) {
	t.Parallel()
	name := "@caddy-gin-test-" + strconv.Itoa(os.Getpid())
	ln := mustListen(t, name)
	wantServed(t, ln, name)
	child := startUnixChild(t, 0, "", "listen "+name)
	var refusal string
	child.answer(&refusal)
	if want := "(pid " + strconv.Itoa(os.Getpid()); !strings.Contains(refusal, want) || !strings.Contains(refusal, "in use by") {
		t.Errorf("%q is missing in %s", want, refusal)
	}
	_ = ln.Close()
	// a process that another test starts has the socket until its exec
	eventually(t, "the end of the socket", func() bool {
		again, err := listenUnix(name)
		return err == nil && again.Close() == nil
	})
}

func TestUnixSpellings(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "real/below"), 0o700), os.Symlink("real", filepath.Join(dir, "link")),
		os.Symlink("real/below", filepath.Join(dir, "deep"))); err != nil {
		t.Fatal(err)
	}
	first := mustListen(t, dir+"/real/a.sock")
	for _, other := range []string{"/link/a.sock", "/real/../link/./a.sock", "//real//a.sock", "/link/below/../a.sock", "/deep/../a.sock"} {
		ln, err := listenUnix(dir + other)
		if err != nil {
			t.Errorf("%s: %v", other, err)
			continue
		}
		if ln.handles[0].socket != first.handles[0].socket {
			t.Errorf("%s has a socket of its own", other)
		}
		_ = ln.Close()
	}
	wantServed(t, first, dir+"/real/a.sock")
	config := make(chan struct{})
	one, err := listenUnixFor(context.Background(), dir+"/real/b.sock", config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = one.Close() }()
	if _, err := listenUnixFor(context.Background(), dir+"/link/b.sock", config); !errors.Is(err, errTwice) {
		t.Errorf("twice in one configuration: %v", err)
	}
}

// TestUnixSpellingOfFolderThatIsMade guards the reload of a socket below a
// symbolic link, such as /var/run, in a folder that the first load made.
func TestUnixSpellingOfFolderThatIsMade(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "run"), 0o700), os.Symlink("run", filepath.Join(dir, "var"))); err != nil {
		t.Fatal(err)
	}
	first := mustListen(t, dir+"/var/shop/a.sock?mkdir=0750")
	second := mustListen(t, dir+"/var/shop/a.sock?mkdir=0750")
	if first.handles[0].socket != second.handles[0].socket {
		t.Error("the reload has a socket of its own")
	}
}

func TestUnixErrorsAreWrapped(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	_, err := listenUnix(dir + "/none/a.sock")
	if !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v is not %v", err, syscall.ENOENT)
	}
}
