// Package testcaddy starts a real Caddy, with the plugin built in, as a child
// process of a test: on ports that the operating system chose, with files in
// a temporary folder, and with its admin API on a Unix socket, so that any
// number of them run beside each other.
package testcaddy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/children"
)

// ready is how long Caddy may take to start and to stop. Machines are slow
// under the race detector.
const ready = 60 * time.Second

// Binary returns the path of a Caddy made of package
// internal/testcaddy/caddy, built once per test process; with the race
// detector if the test has it. The variable CADDY_GIN_TEST_BINARY names one
// that is built already.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// buildDir is the folder of the binary, once it is built.
var buildDir string

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("CADDY_GIN_TEST_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "testcaddy")
	if err != nil {
		return "", err
	}
	buildDir = dir
	path := filepath.Join(dir, "caddy")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	args = append(args, "github.com/caddy-gin/caddy-gin/internal/testcaddy/caddy")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("building Caddy: %w\n%s", err, out)
	}
	return path, nil
})

// Main is for TestMain: it runs the tests and removes the binary.
func Main(m *testing.M) {
	code := m.Run()
	if buildDir != "" {
		_ = os.RemoveAll(buildDir)
	}
	os.Exit(code)
}

// Config is a configuration in Caddyfile syntax. In its texts, $HTTP and
// $HTTPS stand for the two ports of the server, and $DIR for its folder.
type Config struct {
	Global string   // further global options
	Sites  string   // the rest of the Caddyfile
	Env    []string // further variables, at start only

	// Exclusive gives the server ports that are not reserved: for networks
	// that share with nobody, such as ipv4/.
	Exclusive bool
	Wrap      []string // a command, and its first arguments, that executes Caddy in its own place
}

// Strict has the sites listen at ipv4/127.0.0.1, unless they bind themselves.
// Nobody who connects after a reload reaches a server of the configuration
// before then, as happens with Caddy's own TCP: it shuts servers down in
// goroutines that a load does not wait for.
func (c Config) Strict() Config {
	c.Global += "\n\tdefault_bind ipv4/127.0.0.1\n"
	c.Exclusive = true
	return c
}

// Server is a running Caddy.
type Server struct {
	Dir       string // temporary folder, also its working directory
	HTTPPort  int
	HTTPSPort int
	Pid       int
	t         testing.TB
	cmd       *exec.Cmd
	admin     *http.Client
	exited    chan struct{} // closed when the process has ended
	mu        sync.Mutex
	log       []Entry
	raw       bytes.Buffer
}

// Entry is an entry of Caddy's log. Text that is not of the log is in Raw
// only.
type Entry struct {
	Level, Logger, Msg string
	Fields             map[string]any
	Raw                string
}

// Start starts a Caddy and waits until it serves. It is stopped at the end of
// the test, which fails if the race detector of the child found something.
func Start(t testing.TB, config Config) *Server {
	t.Helper()
	s, err := TryStart(t, config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TryStart is Start for a configuration that may fail.
func TryStart(t testing.TB, config Config) (*Server, error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cg") // short: it is part of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := Port
	if config.Exclusive {
		port = FreePort
	}
	s := &Server{Dir: dir, HTTPPort: port(t), HTTPSPort: port(t), t: t, exited: make(chan struct{})}
	socket := filepath.Join(dir, "admin.sock")
	s.admin = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(s.Expand(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	command := append(slices.Clone(config.Wrap), Binary(t), "run", "--config", file)
	s.cmd = exec.Command(command[0], command[1:]...)
	s.cmd.Dir = dir
	s.cmd.Env = append(append(os.Environ(), s.environment()...), config.Env...)
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout = s.cmd.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.Pid = s.cmd.Process.Pid
	go s.readLog(pipe)
	t.Cleanup(s.Stop)
	if !s.WaitLog(func(e Entry) bool { return e.Msg == "serving initial configuration" }) {
		return nil, fmt.Errorf("caddy did not start:\n%s", s.RawLog())
	}
	if strings.Contains(config.Sites, "tls internal") && strings.Contains(config.Sites, "$HTTPS") {
		if err := s.awaitCertificate(); err != nil {
			return nil, fmt.Errorf("caddy has no certificate: %w\n%s", err, s.RawLog())
		}
	}
	return s, nil
}

// awaitCertificate waits until a handshake succeeds: certificates are made in
// the background.
func (s *Server) awaitCertificate() error {
	deadline := time.Now().Add(ready)
	for {
		conn, err := tls.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(s.HTTPSPort)),
			&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the CA is made by the server under test
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *Server) environment() []string {
	return []string{
		"HOME=" + s.Dir, "XDG_DATA_HOME=" + s.Dir, "XDG_CONFIG_HOME=" + s.Dir,
		"GIN_MODE=", "GORACE=halt_on_error=0",
	}
}

// Expand returns the whole Caddyfile of a configuration.
func (s *Server) Expand(config Config) string {
	text := "{\n\tadmin unix/$DIR/admin.sock\n\tskip_install_trust\n\tstorage file_system $DIR/storage\n" +
		"\thttp_port $HTTP\n\thttps_port $HTTPS\n" + config.Global + "\n}\n" + config.Sites
	return strings.NewReplacer(
		"$HTTPS", strconv.Itoa(s.HTTPSPort), "$HTTP", strconv.Itoa(s.HTTPPort), "$DIR", s.Dir,
	).Replace(text)
}

// HTTP returns the URL of a path on the plain port, and HTTPS on the other.
func (s *Server) HTTP(path string) string {
	return "http://localhost:" + strconv.Itoa(s.HTTPPort) + path
}

// HTTPS returns the URL of a path on the TLS port.
func (s *Server) HTTPS(path string) string {
	return "https://localhost:" + strconv.Itoa(s.HTTPSPort) + path
}

// Reload loads another configuration through the admin API. The error is the
// API's message.
func (s *Server) Reload(config Config) error {
	return s.Load("text/caddyfile", s.Expand(config))
}

// Load posts a configuration of the given type to the admin API.
func (s *Server) Load(contentType, body string) error {
	_, err := s.retry(func() (*http.Request, error) {
		req, err := http.NewRequest(http.MethodPost, "http://caddy/load", strings.NewReader(body))
		if err == nil {
			req.Header.Set("Content-Type", contentType)
			req.Header.Set("Cache-Control", "must-revalidate") // reload though nothing changed
		}
		return req, err
	})
	return err
}

// Admin gets a path of the admin API.
func (s *Server) Admin(path string) ([]byte, error) {
	return s.retry(func() (*http.Request, error) {
		return http.NewRequest(http.MethodGet, "http://caddy"+path, nil)
	})
}

// retry makes a call again that had no answer: each load replaces the
// endpoint, and Caddy's old server may accept a connection that it then closes.
func (s *Server) retry(request func() (*http.Request, error)) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		req, err := request()
		if err != nil {
			return nil, err
		}
		body, err := s.call(req)
		if broken := (*url.Error)(nil); !errors.As(err, &broken) || attempt == 5 {
			return body, err
		}
	}
}

func (s *Server) call(req *http.Request) ([]byte, error) {
	s.admin.CloseIdleConnections() // a reload replaces the endpoint
	resp, err := s.admin.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(body, &problem) == nil && problem.Error != "" {
			return nil, errors.New(problem.Error)
		}
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, nil
}

// Goroutines returns the number of goroutines of the server.
func (s *Server) Goroutines() int {
	s.t.Helper()
	text, err := s.Admin("/debug/pprof/goroutine?debug=1")
	if err != nil {
		s.t.Fatal(err)
	}
	var n int
	if _, err := fmt.Sscanf(string(text), "goroutine profile: total %d", &n); err != nil {
		s.t.Fatalf("reading the goroutine profile: %v", err)
	}
	return n
}

// Descriptors returns the number of open descriptors of the server, or 0
// where there is no /proc.
func (s *Server) Descriptors() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.Pid))
	if err != nil {
		return 0
	}
	return len(entries)
}

// Signal sends a signal to the server.
func (s *Server) Signal(sig os.Signal) { _ = s.cmd.Process.Signal(sig) }

// Exited returns a channel that is closed when the server has ended.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Stop ends the server by SIGTERM and waits for it. It may be called twice.
func (s *Server) Stop() {
	s.t.Helper()
	s.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(ready):
		goroutines, _ := s.Admin("/debug/pprof/goroutine?debug=2")
		_ = s.cmd.Process.Kill()
		<-s.exited
		s.t.Errorf("caddy did not stop:\n%s\n%s", s.RawLog(), goroutines)
	}
	if log := s.RawLog(); strings.Contains(log, "DATA RACE") { // readLog overlooks the one of Caddy's own
		s.t.Errorf("race in caddy:\n%s", log)
	}
	if s.t.Failed() && testing.Verbose() {
		s.t.Logf("log of caddy:\n%s", s.RawLog())
	}
}

func (s *Server) readLog(pipe io.Reader) {
	r := bufio.NewReaderSize(pipe, 1<<20)
	var races children.RaceFilter
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			s.note(races.Pass(line))
		}
		if err != nil {
			break
		}
	}
	s.note(races.Rest())
	_ = s.cmd.Wait()
	close(s.exited)
}

// note adds lines to the log.
func (s *Server) note(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range lines {
		e := Entry{Raw: strings.TrimRight(line, "\n")}
		if json.Unmarshal([]byte(line), &e.Fields) == nil {
			e.Level, _ = e.Fields["level"].(string)
			e.Logger, _ = e.Fields["logger"].(string)
			e.Msg, _ = e.Fields["msg"].(string)
		}
		s.log = append(s.log, e)
		s.raw.WriteString(line)
	}
}

// Log returns the log so far.
func (s *Server) Log() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Entry(nil), s.log...)
}

// RawLog returns all that the server printed so far.
func (s *Server) RawLog() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

// WaitLog waits for an entry of the log. It is false if the server ended
// without it.
func (s *Server) WaitLog(match func(Entry) bool) bool {
	deadline := time.Now().Add(ready)
	for time.Now().Before(deadline) {
		ended := false
		select {
		case <-s.exited:
			ended = true
		default:
		}
		for _, e := range s.Log() {
			if match(e) {
				return true
			}
		}
		if ended {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

// Run runs a command of Caddy's and returns what it printed.
func Run(t testing.TB, dir string, args ...string) (output string, exitCode int) {
	t.Helper()
	cmd := exec.Command(Binary(t), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "GIN_MODE=")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Eventually waits until cond is true, and fails the test after a while. For
// what no event announces.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(ready)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
