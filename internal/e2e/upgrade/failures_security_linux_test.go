package upgrade

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

// Who may not load a configuration may not replace the process either, and nobody
// may say by which binary.
func TestUpgradeForeignRequests(t *testing.T) {
	t.Parallel()
	s := start(t, config{admin: fmt.Sprintf("localhost:%d", testcaddy.FreePort(t))})
	pid := s.onlyProcess()
	for _, header := range [][]string{
		{"Origin", "http://evil.example"},
		{"Origin", "null"},
		{"Host", "evil.example"},
		{"Host", "evil.example:2019", "Origin", "http://evil.example:2019"},
		{"Sec-Fetch-Mode", "no-cors", "Origin", "http://evil.example"},
	} {
		want, _ := s.call(http.MethodPost, "/load", "{}", append([]string{"Content-Type", "application/json"}, header...)...)
		got, text := s.call(http.MethodPost, "/gin/upgrade", "", header...)
		if want != http.StatusForbidden && want != http.StatusBadRequest || got != want {
			t.Errorf("%v: got %d %s, want %d, as /load answers", header, got, text, want)
		}
	}
	for query, want := range map[string]string{
		"binary=/bin/sh":            `unknown parameter \"binary\"; the parameters are: drain, dry_run, timeout`,
		"path=/bin/sh&dry_run=true": `unknown parameter \"path\"`,
		"probation=0s":              `unknown parameter \"probation\"`,
		"timeout=soon":              `timeout: \"soon\" is not allowed`,
		"drain=-1s":                 `drain: \"-1s\" is not allowed`,
		"dry_run=yes":               `dry_run: \"yes\" is not allowed`,
	} {
		if status, text := s.call(http.MethodPost, "/gin/upgrade?"+query, ""); status != http.StatusBadRequest || !strings.Contains(text, want) {
			t.Errorf("%s: got %d %s, want %d and %s", query, status, text, http.StatusBadRequest, want)
		}
	}
	if status, text := s.call(http.MethodGet, "/gin/upgrade", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %d %s", status, text)
	}
	if now := s.onlyProcess(); now != pid {
		t.Errorf("process %d is left, want %d", now, pid)
	}
	s.unharmed(pid)
}

// What an app starts has no descriptors of ours, in either process.
func TestUpgradeLeaksNoDescriptors(t *testing.T) {
	t.Parallel()
	s := start(t, onProbation)
	connected := s.connect(1)[0]          // stays with the first process
	n := s.inherited("before", connected) // what the test itself was started with, at most
	stuck, _ := s.hung(fault.HangInSecond, "hanging in the second build", "--timeout", "30s")
	if got := s.inherited("while the new process starts", connected); got != n {
		t.Errorf("while the new process starts, the app's child processes get %d descriptors, want %d", got, n)
	}
	pid := s.cmd.Process.Pid
	if err := unix.Kill(s.other(pid), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.check(<-stuck, 3, "killed")
	result, successor := s.serving()
	for name, k := range map[string]*kept{"old": connected, "new": s.connect(1)[0]} {
		if got := s.inherited("on probation, "+name, k); got != n {
			t.Errorf("on probation, the child processes of the app in the %s process get %d descriptors, want %d", name, got, n)
		}
	}
	if target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/0", successor)); err != nil || target != os.DevNull {
		t.Errorf("the standard input of the new process is %q (%v), want %s", target, err, os.DevNull)
	}
	s.signal(successor, unix.SIGKILL)
	<-result
	s.onlyProcess()
}

// inherited returns how many descriptors a process has that the app starts, and
// checks what they are.
func (s *service) inherited(when string, k *kept) (n int) {
	s.t.Helper()
	if _, err := io.WriteString(k.conn, "GET /descriptors HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s: %s %s %v", when, resp.Status, text, err)
	}
	for line := range strings.Lines(string(text)) {
		_, entry, ok := strings.Cut(strings.TrimSpace(line), " -> ")
		if !ok {
			continue
		}
		n++
		if strings.HasPrefix(entry, "socket:") || strings.Contains(entry, "memfd") || strings.HasPrefix(entry, "anon_inode:") {
			s.t.Errorf("%s: a process that the app started has %s", when, line)
		}
	}
	return n
}

// descriptorsOf returns how many descriptors a process has.
func descriptorsOf(pid int) int {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(entries)
}

// A failed upgrade leaves no descriptors behind.
func TestUpgradeFailedLeavesNoDescriptors(t *testing.T) {
	t.Parallel()
	for _, admin := range []string{"unix", "tcp"} {
		t.Run(admin, func(t *testing.T) {
			t.Parallel()
			var c config
			if admin == "tcp" {
				c.admin = fmt.Sprintf("localhost:%d", testcaddy.FreePort(t))
			}
			s := start(t, c)
			pid := s.onlyProcess()
			faults := []string{fault.ExitBeforeHello, fault.ErrorInBuild, fault.ExitInSecond, fault.ExitWhenReady}
			round := func() {
				for _, name := range faults {
					s.deploy(name)
					if got := <-s.begin(); got.code == 0 {
						t.Fatalf("%s: got %+v", name, got)
					}
				}
			}
			round()
			before := descriptorsOf(pid)
			round()
			round()
			s.eventually("the descriptors are as before", func() bool { return descriptorsOf(pid) <= before })
			s.unharmed(pid)
		})
	}
}

// The variable that makes a process a successor is of no use by itself.
func TestUpgradeByHand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine, theirs := os.NewFile(uintptr(pair[0]), "mine"), os.NewFile(uintptr(pair[1]), "theirs")
	defer func() { _, _ = mine.Close(), theirs.Close() }()
	for _, c := range []struct {
		name  string
		stdin *os.File
		want  string
	}{
		{"nothing", nil, "the variable CADDY_GIN_SUCCESSOR is for `caddy gin upgrade` only"},
		{"socket of another process", theirs, "is not the one that started this"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", `"$0" run; exit $?`, testcaddy.Binary(t)) // the parent is not who has made the socket
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "CADDY_GIN_SUCCESSOR=1", "HOME="+dir)
			if c.stdin != nil {
				cmd.Stdin = c.stdin
			}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("got %v, want exit code 1", err)
			}
			if !strings.Contains(out.String(), c.want) || strings.Count(out.String(), "\n") != 1 {
				t.Errorf("got %q, want one line with %q", out.String(), c.want)
			}
		})
	}
}
