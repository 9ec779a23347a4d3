package upgrade

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// newConnected is newLoad of clients that keep their connections, and are
// connected when it returns: a process that dies takes with it only requests that
// it has.
func newConnected(t testing.TB, s *service) *load {
	t.Helper()
	l := &load{t: t, stop: make(chan struct{})}
	for _, protocol := range []string{"http", "https", "h2", "unix"} {
		for i := range 4 {
			client, url := l.client(s, protocol)
			if protocol == "http" || protocol == "unix" {
				countConns(client, &l.opened)
				l.clients++
			}
			post := i%2 == 1 && protocol != "https"
			if err := exchange(client, url, post, 0); err != nil {
				t.Fatalf("%s: %v", protocol, err)
			}
			l.wg.Go(func() { l.run(client, url, protocol, post, time.Duration(i)*time.Millisecond) })
		}
	}
	return l
}

// in has a subtest fail for the service, until the returned function is called.
func (s *service) in(t testing.TB) (leave func()) {
	outer := s.t
	s.t = t
	return func() { s.t = outer }
}

// finish ends the clients, whatever connections they needed.
func (l *load) finish() {
	l.t.Helper()
	l.clients = l.opened.Load()
	l.end()
}

// outcome is what `caddy gin upgrade` returned.
type outcome struct {
	steps  []event
	stderr string
	code   int
}

// begin runs `caddy gin upgrade` in the background.
func (s *service) begin(args ...string) <-chan outcome {
	result := make(chan outcome, 1)
	go func() {
		steps, stderr, code := s.upgrade(args...)
		result <- outcome{steps, stderr, code}
	}()
	return result
}

// mustFail runs an upgrade that fails, with one line that has a text. The process
// serves on, and is the only one.
func (s *service) mustFail(code int, want string, args ...string) {
	s.t.Helper()
	pid := s.onlyProcess()
	s.check(<-s.begin(args...), code, want)
	s.unharmed(pid)
}

// check checks how an upgrade failed.
func (s *service) check(got outcome, code int, want string) {
	s.t.Helper()
	text := strings.TrimSuffix(got.stderr, "\n")
	var line struct{ Msg string } // as Caddy prints it where there is no terminal
	if json.Unmarshal([]byte(text), &line) == nil {
		text = line.Msg
	}
	if got.code != code || !strings.Contains(text, want) || strings.Contains(text, "\n") {
		s.t.Errorf("exit code %d, want %d, and one line with %q:\n%s\nsteps %+v", got.code, code, want, got.stderr, got.steps)
	}
	s.t.Logf("%s", text)
}

// unharmed checks that a process is the only one and serves, has the admin
// endpoint, and can be reloaded and replaced.
func (s *service) unharmed(pid int) {
	s.t.Helper()
	if now := s.onlyProcess(); now != pid {
		s.t.Fatalf("process %d is left, want %d\n%s", now, pid, s.text())
	}
	if children := s.children(pid); len(children) > 0 {
		s.t.Errorf("process %d has the children %v, want none", pid, children)
	}
	for _, url := range []string{s.url(), s.tlsURL()} {
		if p, err := s.askAnew(url); err != nil || p.PID != pid {
			s.t.Errorf("%s: got %+v and %v, want process %d", url, p, err, pid)
		}
	}
	if status, text := s.call(http.MethodGet, "/gin/health/live", ""); status != http.StatusOK {
		s.t.Errorf("admin endpoint: %d %s", status, text)
	}
	if status, text := s.load(); status != http.StatusOK {
		s.t.Errorf("load: %d %s", status, text)
	}
	s.deploy("")
	done := s.mustUpgrade()
	if r := done.Result; r.OldPID != pid || r.ClosedByLimit > 0 || len(r.Warnings) > 0 {
		s.t.Errorf("got %+v, want process %d replaced", done.Result, pid)
	}
	if now := s.onlyProcess(); now == pid {
		s.t.Errorf("process %d is left", pid)
	}
}

// askAnew asks who answers new connections.
func (s *service) askAnew(url string) (process, error) {
	protocol, _, _ := strings.Cut(url, ":")
	client := testcaddy.Client(s.t, protocol)
	defer client.CloseIdleConnections()
	return s.ask(client, url)
}

// call makes a request to the admin API, whose status is 0 if there is no answer.
func (s *service) call(method, path, body string, header ...string) (status int, text string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.adminURL(path), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for pair := range slices.Chunk(header, 2) {
		req.Header.Set(pair[0], pair[1])
		if pair[0] == "Host" {
			req.Host = pair[1]
		}
	}
	resp, err := s.adminClient(false).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(answer)
}

// load loads the configuration once more.
func (s *service) load() (status int, text string) {
	s.t.Helper()
	config, err := os.ReadFile(filepath.Join(s.dir, "Caddyfile"))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.call(http.MethodPost, "/load", string(config), "Content-Type", "text/caddyfile", "Cache-Control", "must-revalidate",
		"Caddy-Config-Source-File", filepath.Join(s.dir, "Caddyfile")) // as `caddy reload` does
}

// children returns the child processes of a process, also those that nobody has
// waited for.
func (s *service) children(pid int) []string {
	s.t.Helper()
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var children []string
	for _, file := range files {
		text, _ := os.ReadFile(file)
		children = append(children, strings.Fields(string(text))...)
	}
	return children
}

// hung runs an upgrade whose successor has a fault, and waits for what that says.
func (s *service) hung(name, says string, args ...string) (result <-chan outcome, successor int) {
	s.t.Helper()
	pid := s.onlyProcess()
	from := len(s.text())
	s.deploy(name)
	result = s.begin(args...)
	s.awaitText(from, says)
	return result, s.other(pid)
}

// awaitText waits until something is printed behind a place.
func (s *service) awaitText(from int, says string) {
	s.t.Helper()
	s.eventually(says, func() bool { return strings.Contains(s.text()[from:], says) })
}

// serving runs a good upgrade and waits until the successor answers.
func (s *service) serving() (result <-chan outcome, successor int) {
	s.t.Helper()
	pid := s.onlyProcess()
	s.deploy("")
	result = s.begin()
	s.eventually("the new process serves", func() bool {
		p, err := s.askAnew(s.url())
		return err == nil && p.PID != pid
	})
	return result, s.other(pid)
}

// other returns the process that is not the one with an ID.
func (s *service) other(pid int) int {
	s.t.Helper()
	pids := slices.DeleteFunc(s.pids(), func(p int) bool { return p == pid })
	if len(pids) != 1 {
		s.t.Fatalf("there are the processes %v beside %d, want one", pids, pid)
	}
	return pids[0]
}

// gone waits until the service has no process any more.
func (s *service) gone() {
	s.t.Helper()
	s.eventually("no process is left", func() bool { return len(s.pids()) == 0 })
}

func (s *service) signal(pid int, sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		s.t.Fatalf("%v to process %d: %v", sig, pid, err)
	}
}

// slow makes a request that takes a while, over a connection of its own, and
// returns when it is being served. The result is who answered.
func (s *service) slow() <-chan error {
	s.t.Helper()
	from := len(s.text())
	name := fmt.Sprintf("slow %d", from)
	result := make(chan error, 1)
	client := testcaddy.Client(s.t, "http")
	go func() {
		resp, err := client.Get(s.url() + "/slow?d=300ms&name=" + strings.ReplaceAll(name, " ", "+"))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("got %s", resp.Status)
			}
		}
		result <- err
	}()
	s.awaitText(from, "serving "+name)
	return result
}
