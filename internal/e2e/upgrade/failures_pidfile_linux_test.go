package upgrade

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

// The PID file has the ID of the process that is in charge.
func TestUpgradePIDFile(t *testing.T) {
	t.Parallel()
	s := start(t, config{args: []string{"--pidfile", "$DIR/caddy.pid"}})
	s.wantPID(s.cmd.Process.Pid)
	for range 2 {
		s.deploy("")
		done := s.mustUpgrade()
		if len(done.Result.Warnings) > 0 {
			t.Errorf("got %+v", done.Result)
		}
		s.onlyProcess()
		s.wantPID(done.Result.NewPID)
	}
	pid := s.onlyProcess()
	s.deploy(fault.ErrorInBuild)
	s.mustFail(3, "wants another configuration")
	if now := s.onlyProcess(); now == pid {
		t.Errorf("process %d is left", now)
	}
	s.wantPID(s.onlyProcess())
	s.signal(s.onlyProcess(), syscall.SIGTERM)
	s.gone()
	s.wantPID(0)
}

// If there is no room for the new process' ID, everything stays as it was.
func TestUpgradePIDFileFull(t *testing.T) {
	testcaddy.NeedRoot(t)
	t.Parallel()
	// one page, which the old process' file takes
	mount := `mkdir "$0" && mount -t tmpfs -o size=4k,nr_inodes=8 none "$0" && exec "$@"`
	dir := t.TempDir() + "/full"
	s := start(t, config{
		wrap: []string{"unshare", "--mount", "sh", "-c", mount, dir},
		args: []string{"--pidfile", dir + "/caddy.pid"},
	})
	l := newConnected(t, s)
	pid := s.onlyProcess()
	s.deploy("")
	s.check(<-s.begin(), 3, "the new process says: writing the PID file: write "+dir)
	if now := s.onlyProcess(); now != pid {
		t.Errorf("process %d is left, want %d", now, pid)
	}
	// the folder as the process sees it
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/root%s/.*", pid, dir))
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/root%s/caddy.pid", pid, dir))
	if string(text) != fmt.Sprintf("%d\n", pid) || len(files) > 0 {
		t.Errorf("the PID file has %q (%v), and beside it are %v; want %d", text, err, files, pid)
	}
	if err := os.Remove(fmt.Sprintf("/proc/%d/root%s/caddy.pid", pid, dir)); err != nil {
		t.Fatal(err)
	}
	s.unharmed(pid)
	l.finish()
}

// A successor that dies as the owner of the PID file gives it back.
func TestUpgradePIDFileRestored(t *testing.T) {
	t.Parallel()
	c := config{args: []string{"--pidfile", "$DIR/caddy.pid"}}
	for attempt := range 15 {
		s := start(t, c)
		pid := s.onlyProcess()
		s.deploy(fault.ExitWhenOwning + " " + filepath.Join(s.dir, "caddy.pid"))
		result := <-s.begin("--timeout", "30s")
		if result.code != 3 {
			t.Logf("attempt %d: the new process was in charge when it died: %s", attempt, result.stderr)
			continue
		}
		const words = "ending as the owner of the file"
		want := words
		if strings.Contains(result.stderr, "last words are in the log") { // it died on being put in charge
			want = "the new process has ended (exit status 7); its last words are in the log"
			testcaddy.Eventually(t, "the words in the log", func() bool { return strings.Contains(s.text(), words) })
		}
		s.check(result, 3, want)
		s.servesOn(pid)
		return
	}
	t.Fatal("the new process never died in time")
}

// A file that cannot be written is found out before anything is given up.
func TestUpgradePIDFileUnwritable(t *testing.T) {
	t.Parallel()
	s := start(t, config{args: []string{"--pidfile", "$DIR/run/caddy.pid"}})
	if err := os.MkdirAll(filepath.Join(s.dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := newConnected(t, s)
	pid := s.onlyProcess()
	run := filepath.Join(s.dir, "run")
	if err := os.RemoveAll(run); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(run, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.deploy("")
	s.check(<-s.begin(), 3, "the new process says: writing the PID file: ")
	if now := s.onlyProcess(); now != pid {
		t.Errorf("process %d is left, want %d", now, pid)
	}
	l.finish()
}
