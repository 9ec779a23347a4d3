package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// The successor serves the new version; the process before it ends; pooled
// connections without TLS go over; and all of that again.
func TestUpgradeReplacesTheProcess(t *testing.T) {
	t.Parallel()
	s := start(t, config{})
	client := testcaddy.Client(t, "http")
	var opened atomic.Int32
	countConns(client, &opened)
	before, err := s.ask(client, s.url())
	if err != nil || before.PID != s.cmd.Process.Pid {
		t.Fatalf("got %+v and %v, want process %d", before, err, s.cmd.Process.Pid)
	}
	for range 3 {
		version := s.deploy("")
		done := s.mustUpgrade()
		if done.Result == nil || done.Result.OldPID != before.PID || done.Result.NewPID == before.PID || done.Result.Listeners != 3 || len(done.Result.Warnings) > 0 {
			t.Fatalf("got %+v after %+v", done.Result, before)
		}
		if done.Result.Moved != 1 || done.Result.ClosedByLimit != 0 {
			t.Errorf("got %+v, want the connection moved", done.Result)
		}
		now, err := s.ask(client, s.url())
		if err != nil || now.PID != done.Result.NewPID || now.Version != version {
			t.Fatalf("got %+v and %v, want process %d of version %s", now, err, done.Result.NewPID, version)
		}
		if pid := s.onlyProcess(); pid != now.PID {
			t.Errorf("process %d is left, want %d", pid, now.PID)
		}
		before = now
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("the client opened %d connections, want 1", n)
	}
	if out, _, code := s.command("generations"); code != 0 {
		t.Errorf("generations: exit code %d: %s", code, out)
	}
}

// Every kind of client goes on during upgrades without a failed request.
func TestUpgradeFailsNoRequest(t *testing.T) {
	t.Parallel()
	s := start(t, config{})
	l := newLoad(t, s)
	for range 5 {
		s.deploy("")
		done := s.mustUpgrade()
		t.Logf("%.1f s: %+v", done.After, *done.Result)
	}
	l.end()
	if pid := s.onlyProcess(); pid == s.cmd.Process.Pid {
		t.Error("the first process is left")
	}
}

// A dry run leaves everything as it was.
func TestUpgradeDryRun(t *testing.T) {
	t.Parallel()
	s := start(t, config{})
	l := newLoad(t, s)
	s.deploy("")
	steps, stderr, code := s.upgrade("--dry-run")
	if code != 0 || steps[len(steps)-1].Step != "done" {
		t.Fatalf("exit code %d: %s, %+v", code, stderr, steps)
	}
	l.end()
	if pid := s.onlyProcess(); pid != s.cmd.Process.Pid {
		t.Errorf("process %d is left, want the first", pid)
	}
	resp, err := s.adminClient(false).Get(s.adminURL("/gin/health/live"))
	if err != nil {
		t.Fatalf("the admin endpoint does not answer: %v", err)
	}
	_ = resp.Body.Close()
	if done := s.mustUpgrade(); done.Step != "done" {
		t.Errorf("got %+v", done)
	}
}

// The admin endpoint answers throughout, and once the new process answers, the old
// one never does again; reload, stop and upgrade work as before. A Unix socket has
// its file at any moment, and no other beside it.
func TestUpgradeAdminEndpoint(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			var c config
			if network == "tcp" {
				c.admin = fmt.Sprintf("localhost:%d", testcaddy.FreePort(t))
			}
			s := start(t, c)
			client := s.adminClient(false)
			watch := s.watchAdmin(3)
			for range 3 {
				s.deploy("")
				s.mustUpgrade()
			}
			pid := s.onlyProcess()
			if answered := watch(); len(answered) != 4 || answered[3] != pid {
				t.Errorf("processes %v answered, want four, and %d the last", answered, pid)
			}
			resp, err := client.Post(s.adminURL("/load"), "text/caddyfile", strings.NewReader(s.expand(c)))
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("load: %v %v", resp, err)
			}
			_ = resp.Body.Close()
			if now := s.onlyProcess(); now != pid {
				t.Errorf("process %d serves after the reload, want %d", now, pid)
			}
			if files, _ := filepath.Glob(s.dir + "/admin.sock*"); network == "unix" && !slices.Equal(files, []string{s.dir + "/admin.sock"}) {
				t.Errorf("there are the sockets %q, want one", files)
			}
			if resp, err = client.Post(s.adminURL("/stop"), "", nil); err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			s.eventually("no process is left", func() bool { return len(s.pids()) == 0 })
			if files, _ := filepath.Glob(s.dir + "/admin.sock*"); len(files) > 0 {
				t.Errorf("the sockets %q are left", files)
			}
		})
	}
}

// watchAdmin asks the admin endpoint, from several clients without a pause, which
// process it belongs to. The function it returns ends that, and returns the
// processes in the order in which they came. It is an error if none answers, or if
// one does again after another. (No configuration may be loaded meanwhile: Caddy
// then loses requests of its admin API.)
func (s *service) watchAdmin(clients int) (end func() []int) {
	s.t.Helper()
	stop := make(chan struct{})
	results := make([]chan []int, clients)
	for i := range results {
		results[i] = make(chan []int, 1)
		client := s.adminClient(false)
		go func() {
			var answered []int
			defer func() { results[i] <- answered }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				pid, err := s.adminPID(client)
				last := len(answered) - 1
				switch {
				case err != nil:
					s.t.Errorf("the admin endpoint after processes %v: %v", answered, err)
					return
				case last >= 0 && answered[last] == pid:
				case slices.Contains(answered, pid):
					s.t.Errorf("the admin endpoint is that of process %d again, after those of %v", pid, answered)
					return
				default:
					answered = append(answered, pid)
				}
			}
		}()
	}
	return func() []int {
		close(stop)
		var longest []int
		for _, result := range results {
			if answered := <-result; len(answered) > len(longest) {
				longest = answered
			}
		}
		return longest
	}
}

// adminPID returns which process answers the admin API.
func (s *service) adminPID(client *http.Client) (int, error) {
	resp, err := client.Get(s.adminURL("/gin/generations"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var generations []struct {
		PID   int    `json:"pid"`
		State string `json:"state"`
	}
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&generations); err != nil {
		return 0, err
	}
	for _, g := range generations {
		if g.State == "live" {
			return g.PID, nil
		}
	}
	return 0, fmt.Errorf("there is no live generation: %+v", generations)
}
