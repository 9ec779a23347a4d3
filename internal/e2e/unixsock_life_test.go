//go:build linux || darwin || freebsd

package e2e

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestUnixSocketAcrossReloads(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, unixSite("unixsock/$DIR/a.sock", "one"))
	path := filepath.Join(s.Dir, "a.sock")
	wantAnswer(t, path, "one")
	first, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if first.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("the mode is %v", first.Mode())
	}
	for i, bind := range []string{"unixsock/$DIR/a.sock|0600", "unixsock/a.sock|0600", "unixsock/$DIR/../" + filepath.Base(s.Dir) + "/a.sock|0600"} {
		lifeReload(t, s, unixSite(bind, strconv.Itoa(i)))
		wantAnswer(t, path, strconv.Itoa(i))
		if now, err := os.Lstat(path); err != nil || !os.SameFile(first, now) || now.Mode().Perm() != 0o600 {
			t.Errorf("%s: the file is another, or its mode %v, %v", bind, now.Mode(), err)
		}
	}
	// somebody removes the file: the reload makes another
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	lifeReload(t, s, unixSite("unixsock/$DIR/a.sock", "again"))
	wantAnswer(t, path, "again")
	lifeReload(t, s, unixSite("unixsock/$DIR/b.sock", "b"))
	wantAnswer(t, filepath.Join(s.Dir, "b.sock"), "b")
	wantNoFile(t, path)
	s.Stop()
	wantNoFile(t, filepath.Join(s.Dir, "b.sock"))
}

func TestUnixSocketOfAnotherStaysAtExit(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, unixSite("unixsock/$DIR/a.sock", "one"))
	path := filepath.Join(s.Dir, "a.sock")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	lifeRefused(t, s, unixSite("unixsock/$DIR/a.sock", "two"), "in use by", "(pid "+strconv.Itoa(os.Getpid()), "stop it or use another path")
	s.Stop()
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("the socket of another process was removed: %v", err)
	}
}

func TestUnixSocketAfterKill(t *testing.T) {
	t.Parallel()
	first := testcaddy.Start(t, unixSite("unixsock/$DIR/a.sock", "one"))
	path := filepath.Join(first.Dir, "a.sock")
	wantAnswer(t, path, "one")
	first.Signal(syscall.SIGKILL)
	<-first.Exited()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("nothing is left over:", err)
	}
	testcaddy.Start(t, unixSite("unixsock/"+path, "two"))
	wantAnswer(t, path, "two")
}

// TestUnixSocketForTwo starts two processes at once on one path, often.
func TestUnixSocketForTwo(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "two")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for round := range 4 {
		path := filepath.Join(dir, strconv.Itoa(round)+".sock")
		servers, problems := make([]*testcaddy.Server, 2), make([]error, 2)
		optParallel(2, func(i int) {
			servers[i], problems[i] = testcaddy.TryStart(t, unixSite("unixsock/"+path, "server"+strconv.Itoa(i)))
		})
		winner := 0
		if problems[0] != nil {
			winner = 1
		}
		loser := 1 - winner
		if problems[winner] != nil || problems[loser] == nil {
			t.Fatalf("not one of the two won: %v, %v", problems[0], problems[1])
		}
		wantAnswer(t, path, "server"+strconv.Itoa(winner))
		want := "in use by caddy (pid " + strconv.Itoa(servers[winner].Pid)
		if !strings.Contains(problems[loser].Error(), want) {
			t.Errorf("the loser does not say %q: %v", want, problems[loser])
		}
		servers[winner].Stop()
		wantNoFile(t, path)
	}
}

func TestUnixSocketFolders(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, unixSite("unixsock/$DIR/a.sock", "one"))
	taken, err := net.Listen("unix", filepath.Join(s.Dir, "taken.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	folder := filepath.Join(s.Dir, "one")
	for range 3 { // servers start one after the other, their addresses in order
		lifeRefused(t, s, unixSite("unixsock/$DIR/one/two/a.sock?mkdir=02777 unixsock/$DIR/taken.sock", "two"), "in use by")
		testcaddy.Eventually(t, "the folders of the failed load are removed", func() bool {
			_, err := os.Lstat(folder)
			return os.IsNotExist(err)
		})
	}
	lifeReload(t, s, unixSite("unixsock/$DIR/one/two/a.sock?mkdir=02777", "three"))
	path := filepath.Join(folder, "two", "a.sock")
	wantAnswer(t, path, "three")
	for _, made := range []string{folder, filepath.Dir(path)} {
		if info, err := os.Lstat(made); err != nil || info.Mode() != fs.ModeDir|fs.ModeSetgid|0o777 {
			t.Errorf("%s has the mode %v, %v", made, info.Mode(), err)
		}
	}
	lifeReload(t, s, unixSite("unixsock/$DIR/one/two/a.sock?mkdir=02777", "four"))
	wantAnswer(t, path, "four")
	s.Stop()
	wantNoFile(t, path)
	if _, err := os.Lstat(filepath.Dir(path)); err != nil {
		t.Errorf("the folder of a configuration that was live is removed: %v", err)
	}
}

func TestUnixSocketAbstract(t *testing.T) {
	t.Parallel()
	name := "@caddy-gin-e2e-" + strconv.Itoa(os.Getpid())
	s := testcaddy.Start(t, unixSite("unixsock/"+name, "one"))
	wantAnswer(t, name, "one")
	lifeReload(t, s, unixSite("unixsock/"+name+"?backlog=9", "two"))
	wantAnswer(t, name, "two")
}

func TestUnixSocketWithSet(t *testing.T) {
	t.Parallel()
	config := unixSite("unixsock/$DIR/one/a.sock?use=files|0600", "one")
	config.Global = "gin {\nlistener files {\nmkdir {env.CG_FOLDER_MODE}\nbacklog 7\n}\n}\n"
	config.Env = []string{"CG_FOLDER_MODE=0711"}
	s := testcaddy.Start(t, config)
	wantAnswer(t, filepath.Join(s.Dir, "one", "a.sock"), "one")
	if info, err := os.Lstat(filepath.Join(s.Dir, "one")); err != nil || info.Mode() != fs.ModeDir|0o711 {
		t.Errorf("the folder has the mode %v, %v", info.Mode(), err)
	}
}
