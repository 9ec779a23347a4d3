package upgrade

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// startContainer starts a service whose process is number 1 of a namespace, and
// returns the ID that it has outside of that.
func startContainer(t *testing.T) (s *service, init int) {
	t.Helper()
	testcaddy.NeedRoot(t)
	s = start(t, config{wrap: []string{testcaddy.Program(t, "unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"}})
	return s, s.onlyProcess()
}

// reaps waits until process 1 is a reaper that has one process, and returns the ID
// of that.
func (s *service) reaps(init int) (current int) {
	s.t.Helper()
	s.eventually("process 1 reaps", func() bool {
		args, _ := os.ReadFile("/proc/" + strconv.Itoa(init) + "/cmdline")
		return strings.Contains(string(args), "\x00reap\x00") && len(s.pids()) == 2
	})
	for _, pid := range s.pids() {
		if pid != init {
			current = pid
		}
	}
	return current
}

// In a container, process 1 stays as a reaper: the container ends when the process
// that serves does, and signals reach it.
func TestUpgradeInAContainer(t *testing.T) {
	t.Parallel()
	s, init := startContainer(t)
	l := newLoad(t, s)
	client := testcaddy.Client(t, "http")
	for range 3 {
		version := s.deploy("")
		s.mustUpgrade()
		if now, err := s.ask(client, s.url()); err != nil || now.Version != version {
			t.Errorf("got %+v and %v, want version %s", now, err, version)
		}
		s.reaps(init)
	}
	l.end()
	if err := syscall.Kill(init, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if pids := s.pids(); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
}

// The exit code of the container is that of the process that served.
func TestUpgradeInAContainerPassesTheExitCodeOn(t *testing.T) {
	t.Parallel()
	s, init := startContainer(t)
	s.deploy("")
	s.mustUpgrade()
	if err := syscall.Kill(s.reaps(init), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.exited
	if code := s.cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d, want 137", code)
	}
}
