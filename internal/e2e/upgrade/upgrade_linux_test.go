package upgrade

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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

// The admin endpoint answers throughout, and after the commit it is the new
// process that answers; reload, stop and upgrade work as before.
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
			stop := make(chan struct{})
			result := make(chan error, 1)
			go func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						result <- nil
						return
					default:
					}
					resp, err := client.Get(s.adminURL("/gin/health/live"))
					for again := 0; again < 2 && network == "unix" && (errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED)); again++ {
						// Caddy removes the file, binds its own, and listens: as caddy gin does
						time.Sleep(100 * time.Millisecond)
						resp, err = client.Get(s.adminURL("/gin/health/live"))
					}
					if err != nil {
						result <- fmt.Errorf("request %d: %w", n, err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						result <- fmt.Errorf("request %d: %s", n, resp.Status)
						return
					}
				}
			}()
			for range 3 {
				s.deploy("")
				s.mustUpgrade()
			}
			close(stop)
			if err := <-result; err != nil {
				t.Error(err)
			}
			pid := s.onlyProcess()
			resp, err := client.Post(s.adminURL("/load"), "text/caddyfile", strings.NewReader(s.expand(c)))
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("load: %v %v", resp, err)
			}
			_ = resp.Body.Close()
			if now := s.onlyProcess(); now != pid {
				t.Errorf("process %d serves after the reload, want %d", now, pid)
			}
			if resp, err = client.Post(s.adminURL("/stop"), "", nil); err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			s.eventually("no process is left", func() bool { return len(s.pids()) == 0 })
		})
	}
}
