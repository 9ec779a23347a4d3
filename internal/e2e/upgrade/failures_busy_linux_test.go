package upgrade

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

// busyText is in the answer to what cannot be done during an upgrade.
const busyText = "an upgrade of the binary is under way"

// wantBusy checks that no configuration can be loaded, by any way, and no other
// upgrade begun.
func (s *service) wantBusy(pid int) {
	s.t.Helper()
	for name, config := range map[string]string{
		"with an admin endpoint": `{"admin":{"listen":"` + s.admin + `"}}`,
		"empty":                  `{}`,
	} {
		status, text := s.call(http.MethodPost, "/load", config, "Content-Type", "application/json")
		if status < 400 || !strings.Contains(text, busyText) {
			s.t.Errorf("load of %s: got %d %s", name, status, text)
		}
	}
	if status, text := s.load(); status < 400 || !strings.Contains(text, busyText) {
		s.t.Errorf("load: got %d %s", status, text)
	}
	if status, text := s.call(http.MethodDelete, "/config/apps", ""); status < 400 || !strings.Contains(text, busyText) {
		s.t.Errorf("DELETE of a part of the configuration: got %d %s", status, text)
	}
	from := len(s.text())
	s.signal(pid, syscall.SIGUSR1)
	s.awaitText(from, "failed to reload config from file")
	if !strings.Contains(s.text()[from:], busyText) {
		s.t.Errorf("SIGUSR1: got\n%s", s.text()[from:])
	}
	if _, stderr, code := s.upgrade(); code != 1 || !strings.Contains(stderr, busyText) && !strings.Contains(stderr, "an upgrade is under way already") {
		s.t.Errorf("second upgrade: exit code %d: %s", code, stderr)
	}
}

// While an upgrade is under way, nothing else is loaded or begun: neither in the
// old process nor, later, in the new one.
func TestUpgradeRefusesLoads(t *testing.T) {
	t.Parallel()
	s := start(t, onProbation)
	l := newConnected(t, s)
	pid := s.onlyProcess()
	result, successor := s.hung(fault.HangInBuild, "hanging in build", "--timeout", "10m")
	s.wantBusy(pid)
	s.signal(successor, syscall.SIGKILL)
	<-result
	s.servesOn(pid)

	result, successor = s.serving()
	s.wantBusy(successor)
	s.signal(successor, syscall.SIGKILL)
	<-result
	s.servesOn(pid)
	if _, err := s.askAnew(s.tlsURL()); err != nil {
		t.Errorf("the configuration is another one: %v", err)
	}
	l.finish()
}

// One with Gin apps is refused even if it has no admin endpoint.
func TestUpgradeRefusesLoadWithoutAdmin(t *testing.T) {
	t.Parallel()
	s := start(t, onProbation)
	l := newConnected(t, s)
	pid := s.onlyProcess()
	result, successor := s.hung(fault.HangInBuild, "hanging in build", "--timeout", "10m")
	config := fmt.Sprintf(`{"admin":{"disabled":true},"apps":{"http":{"servers":{"s":{"listen":["ipv4/127.0.0.1:%d"],`+
		`"routes":[{"handle":[{"handler":"gin","app":"upgrade-main"}]}]}}}}}`, s.port)
	if status, text := s.call(http.MethodPost, "/load", config, "Content-Type", "application/json"); status < 400 || !strings.Contains(text, busyText) {
		t.Errorf("load: got %d %s", status, text)
	}
	s.signal(successor, syscall.SIGKILL)
	<-result
	if p, err := s.askAnew(s.tlsURL()); err != nil || p.PID != pid {
		t.Errorf("got %+v and %v, want process %d", p, err, pid)
	}
	l.finish()
}

// A configuration without admin endpoint and Gin apps cannot be refused: then it
// is what runs, and the upgrade is what fails.
func TestUpgradeOtherConfigurationLoaded(t *testing.T) {
	t.Parallel()
	s := start(t, onProbation)
	pid := s.onlyProcess()
	s.write("caddy.slow", "")
	result, _ := s.hung("", "slow in build")
	status, text := s.call(http.MethodPost, "/load", `{"admin":{"disabled":true}}`, "Content-Type", "application/json")
	if status != http.StatusOK {
		t.Errorf("load: got %d %s", status, text)
	}
	if err := os.Remove(filepath.Join(s.dir, "caddy.slow")); err != nil {
		t.Fatal(err)
	}
	s.check(<-result, 3, "another configuration has been loaded meanwhile")
	if now := s.onlyProcess(); now != pid {
		t.Errorf("process %d is left, want %d", now, pid)
	}
}

// An upgrade begins when the configuration that is being loaded is there, or has
// failed.
func TestUpgradeWaitsForLoad(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		name := map[bool]string{false: "good", true: "bad"}[fails]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, config{})
			l := newLoad(t, s)
			pid := s.onlyProcess()
			if fails {
				taken, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = taken.Close() }()
				text, err := os.ReadFile(filepath.Join(s.dir, "Caddyfile"))
				if err != nil {
					t.Fatal(err)
				}
				s.write("Caddyfile", string(text)+fmt.Sprintf("http://bad.localhost:%d {\nbind ipv4/127.0.0.1\n}\n", taken.Addr().(*net.TCPAddr).Port))
			}
			from := len(s.text())
			s.write("caddy.slow", "")
			loaded := make(chan int, 1)
			go func() {
				status, _ := s.load()
				loaded <- status
			}()
			s.awaitText(from, "slow in build")
			s.deploy("")
			result, other := s.begin(), s.begin()
			var refused outcome
			select { // the one that comes second does not wait
			case refused = <-result:
				result = other
			case refused = <-other:
			}
			s.check(refused, 1, "an upgrade is under way already")
			if now := s.onlyProcess(); now != pid {
				t.Errorf("process %d is there, want %d only", now, pid)
			}
			if err := os.Remove(filepath.Join(s.dir, "caddy.slow")); err != nil {
				t.Fatal(err)
			}
			if status := <-loaded; (status != http.StatusOK) != fails {
				t.Errorf("load: got %d", status)
			}
			if got := <-result; got.code != 0 {
				t.Errorf("exit code %d: %s", got.code, got.stderr)
			}
			if now := s.onlyProcess(); now == pid {
				t.Errorf("process %d is left", pid)
			}
			l.finish()
		})
	}
}

// A process that still drains is not in the way of the next upgrade, nor of its
// failure.
func TestUpgradeDuringDrain(t *testing.T) {
	t.Parallel()
	s := start(t, draining)
	l := newLoad(t, s)
	old := s.stream(t)
	if version := echo(t, old); version != "v1" {
		t.Errorf("got version %s", version)
	}
	s.deploy("")
	first := s.begin()
	s.awaitText(0, "the new process has taken over")
	second := s.other(s.cmd.Process.Pid)

	s.deploy(fault.ErrorInBuild)
	s.check(<-s.begin(), 3, "wants another configuration")
	if now := s.other(s.cmd.Process.Pid); now != second {
		t.Fatalf("process %d serves, want %d", now, second)
	}

	newer := s.stream(t)
	version := echo(t, newer)
	from := len(s.text())
	s.deploy("")
	next := s.begin()
	s.awaitText(from, "the new process has taken over")
	if n := len(s.pids()); n != 3 {
		t.Errorf("there are %d processes, want 3", n)
	}
	for name, stream := range map[string]*websocket.Conn{"v1": old, version: newer} {
		if got := echo(t, stream); got != name {
			t.Errorf("version %s answers a stream of %s", got, name)
		}
	}
	_ = old.Close()
	if got := <-first; got.code != 0 || got.steps[len(got.steps)-1].Result.ClosedByLimit > 0 {
		t.Errorf("the first: exit code %d: %s\n%+v", got.code, got.stderr, got.steps[len(got.steps)-1].Result)
	}
	_ = newer.Close()
	if got := <-next; got.code != 0 || got.steps[len(got.steps)-1].Result.ClosedByLimit > 0 {
		t.Errorf("the second: exit code %d: %s\n%+v", got.code, got.stderr, got.steps[len(got.steps)-1].Result)
	}
	pid := s.onlyProcess()
	if pid == second || pid == s.cmd.Process.Pid {
		t.Errorf("process %d is left", pid)
	}
	l.finish()
	s.servesOn(pid)
}

// echo sends a message over a stream, and returns the version that answers.
func echo(t testing.TB, stream *websocket.Conn) (version string) {
	t.Helper()
	if err := stream.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for {
		_, message, err := stream.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if version, ok := strings.CutSuffix(string(message), " hello"); ok {
			return version
		}
	}
}

// With the admin endpoint on TCP, two processes share its port for a while: none
// of the failures leaves it with the wrong one.
func TestUpgradeFailsWithAdminOnTCP(t *testing.T) {
	t.Parallel()
	c := onProbation
	c.admin = fmt.Sprintf("localhost:%d", testcaddy.FreePort(t))
	s := start(t, c)
	l := newConnected(t, s)
	for _, name := range []string{fault.NoProtocol, fault.ErrorInBuild, fault.ExitInSecond, fault.ExitWhenReady} {
		pid := s.onlyProcess()
		s.deploy(name)
		if got := <-s.begin(); got.code == 0 {
			t.Errorf("%s: got %+v", name, got)
		}
		s.servesOn(pid)
	}
	pid := s.onlyProcess()
	result, successor := s.serving()
	s.wantBusy(successor)
	s.signal(successor, syscall.SIGKILL)
	s.check(<-result, 3, "signal: killed")
	s.servesOn(pid)
	l.finish()
}
