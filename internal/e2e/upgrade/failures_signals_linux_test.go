package upgrade

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

// onProbation is a configuration whose upgrades stay on probation until something
// happens.
var onProbation = config{
	gin:  "upgrade {\nprobation 5m\ndrain 5s\n}",
	args: []string{"--pidfile", "$DIR/caddy.pid"},
}

// draining is one whose processes drain until something happens.
var draining = config{
	gin:  "upgrade {\nprobation 100ms\ndrain 20s\n}",
	args: onProbation.args,
}

// wantPID checks whose ID is in the PID file: 0 if there is to be none.
func (s *service) wantPID(pid int) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "caddy.pid"))
	if pid == 0 {
		if !os.IsNotExist(err) {
			s.t.Errorf("the PID file is left: %q %v", text, err)
		}
		return
	}
	if string(text) != fmt.Sprintf("%d\n", pid) {
		s.t.Errorf("the PID file has %q (%v), want %d", text, err, pid)
	}
}

// A successor that dies after it was ready does not take more than its own
// requests with it.
func TestUpgradeSuccessorDies(t *testing.T) {
	t.Parallel()
	s := start(t, onProbation)
	l := newConnected(t, s)
	t.Run("ready", func(t *testing.T) {
		defer s.in(t)()
		pid := s.onlyProcess()
		s.deploy(fault.ExitWhenReady)
		s.check(<-s.begin(), 3, "its last words: fault: ending when ready")
		s.servesOn(pid)
	})
	t.Run("in a request", func(t *testing.T) {
		defer s.in(t)()
		pid := s.onlyProcess()
		from := len(s.text())
		s.deploy(fault.ExitWhenServing)
		result := s.begin()
		s.eventually("a request kills it", func() bool {
			_, _ = s.askAnew(s.url())
			return strings.Contains(s.text()[from:], "ending in a request")
		})
		s.check(<-result, 3, "the new process has ended (exit status 7); its last words: fault: ending in a request")
		s.servesOn(pid)
	})
	t.Run("killed", func(t *testing.T) {
		defer s.in(t)()
		pid := s.onlyProcess()
		result, successor := s.serving()
		s.signal(successor, syscall.SIGKILL)
		s.check(<-result, 3, "the new process has ended (signal: killed)")
		s.servesOn(pid)
	})
	t.Run("killed before it is ready", func(t *testing.T) {
		defer s.in(t)()
		pid := s.onlyProcess()
		result, successor := s.hung(fault.HangInSecond, "hanging in the second build")
		s.signal(successor, syscall.SIGKILL)
		s.check(<-result, 3, "the new process has ended (signal: killed)")
		s.servesOn(pid)
	})
	s.recovers()
	l.finish()
}

// recovers ends long probations, and checks that the process that is left is
// unharmed.
func (s *service) recovers() {
	s.t.Helper()
	file := filepath.Join(s.dir, "Caddyfile")
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	short := strings.Replace(string(text), "probation 5m", "probation 100ms", 1)
	if err := os.WriteFile(file, []byte(short), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if status, text := s.load(); status != http.StatusOK {
		s.t.Errorf("load: %d %s", status, text)
	}
	s.unharmed(s.onlyProcess())
}

// servesOn is unharmed without another upgrade.
func (s *service) servesOn(pid int) {
	s.t.Helper()
	if now := s.onlyProcess(); now != pid {
		s.t.Fatalf("process %d is left, want %d\n%s", now, pid, s.text())
	}
	s.wantPID(pid)
	for _, url := range []string{s.url(), s.tlsURL()} {
		if p, err := s.askAnew(url); err != nil || p.PID != pid {
			s.t.Errorf("%s: got %+v and %v, want process %d", url, p, err, pid)
		}
	}
	if status, text := s.load(); status != http.StatusOK {
		s.t.Errorf("load: %d %s", status, text)
	}
}

// TERM to a successor before it is in charge ends only that, after its requests.
func TestUpgradeTermToSuccessor(t *testing.T) {
	t.Parallel()
	s := start(t, onProbation)
	l := newConnected(t, s)
	for _, name := range []string{fault.HangInBuild, fault.HangInSecond} {
		t.Run(name, func(t *testing.T) {
			defer s.in(t)()
			pid := s.onlyProcess()
			result, successor := s.hung(name, "hanging in")
			s.signal(successor, syscall.SIGTERM)
			s.check(<-result, 3, "the new process says: told to end by the signal terminated")
			s.servesOn(pid)
		})
	}
	t.Run("probation", func(t *testing.T) {
		defer s.in(t)()
		pid := s.onlyProcess()
		result, successor := s.serving()
		slow := s.slow()
		s.signal(successor, syscall.SIGTERM)
		s.check(<-result, 3, "the new process says: told to end by the signal terminated")
		if err := <-slow; err != nil {
			t.Errorf("the request in the new process: %v", err)
		}
		s.servesOn(pid)
	})
	s.recovers()
	l.finish()
}

// A process that is told to end before the release takes the successor with it,
// after their requests.
func TestUpgradeTermToPredecessor(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fault.HangInBuild, fault.HangInSecond, "probation", "stop"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, onProbation)
			pid := s.onlyProcess()
			requests := []<-chan error{s.slow()}
			var result <-chan outcome
			switch name {
			case "probation", "stop":
				result, _ = s.serving()
				requests = append(requests, s.slow())
			default:
				result, _ = s.hung(name, "hanging in")
			}
			if name != "stop" {
				s.signal(pid, syscall.SIGTERM)
			} else if status, text := s.call(http.MethodPost, "/stop", ""); status != http.StatusOK {
				t.Errorf("stop: %d %s", status, text)
			}
			for i, request := range requests {
				if err := <-request; err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			}
			s.gone()
			s.wantPID(0)
			if got := <-result; got.code == 0 {
				t.Errorf("got %+v", got)
			}
			for _, pattern := range []string{"app.sock*", "admin.sock*"} {
				if left, _ := filepath.Glob(filepath.Join(s.dir, pattern)); len(left) > 0 {
					t.Errorf("%s are left", left)
				}
			}
		})
	}
}

// If the old process is killed before the new one serves, that ends too, as the
// service is to be started again.
func TestUpgradePredecessorDiesBeforeServing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{fault.HangBeforeHello, fault.HangInBuild, fault.HangInSecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, onProbation)
			pid := s.onlyProcess()
			if name == fault.HangBeforeHello {
				s.deploy(name)
				s.begin()
				s.eventually("there are two processes", func() bool { return len(s.pids()) == 2 })
				successor := s.other(pid)
				s.signal(pid, syscall.SIGKILL)
				s.signal(successor, syscall.SIGKILL) // it is stuck for good
			} else {
				s.hung(name, "hanging in")
				s.signal(pid, syscall.SIGKILL)
			}
			s.gone()
		})
	}
}

// If the old process is killed while the new one is on probation, that is the one
// from then on.
func TestUpgradePredecessorDiesInProbation(t *testing.T) {
	t.Parallel()
	s := start(t, onProbation)
	pid := s.onlyProcess()
	result, successor := s.serving()
	l := newConnected(t, s)
	admin := s.watchAdmin(2)
	s.signal(pid, syscall.SIGKILL)
	if got := <-result; got.code == 0 {
		t.Errorf("got %+v", got)
	}
	s.awaitText(0, "the process before this one has died; this one goes on")
	if answered := admin(); !slices.Equal(answered, []int{successor}) {
		t.Errorf("processes %v answered the admin API, want %d", answered, successor)
	}
	s.servesOn(successor)
	s.recovers()
	l.finish()
	s.signal(s.onlyProcess(), syscall.SIGTERM)
	s.gone()
	s.wantPID(0)
}

// The old process may end in any way while it drains.
func TestUpgradePredecessorEndsWhileDraining(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := start(t, draining)
			pid := s.onlyProcess()
			l := newLoad(t, s)
			stream := s.stream(t)
			admin := s.watchAdmin(2)
			s.deploy("")
			s.begin()
			s.awaitText(0, "the new process has taken over")
			successor := s.other(pid)
			connected := newConnected(t, s)
			l.finish() // none of its requests is in the old process any more
			s.signal(pid, sig)
			s.eventually("the old process has ended", func() bool { return len(s.pids()) == 1 })
			if _, _, err := stream.ReadMessage(); err == nil {
				_, _, err = stream.ReadMessage() // the first says that it drains
				if err == nil {
					t.Error("the stream goes on")
				}
			}
			if answered := admin(); !slices.Equal(answered, []int{pid, successor}) {
				t.Errorf("processes %v answered the admin API, want %d and %d", answered, pid, successor)
			}
			s.servesOn(successor)
			s.unharmed(successor)
			connected.finish()
			s.signal(s.onlyProcess(), syscall.SIGTERM)
			s.gone()
			s.wantPID(0)
		})
	}
}

// stream opens a WebSocket that stays though its process drains.
func (s *service) stream(t testing.TB) *websocket.Conn {
	t.Helper()
	url := strings.Replace(s.url(), "http", "ws", 1) + "/ws?stay=1"
	conn, resp, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
