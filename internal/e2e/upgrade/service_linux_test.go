// Package upgrade tests `caddy gin upgrade` from outside: real processes, real
// clients, real sockets.
package upgrade

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
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
	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestMain(m *testing.M) { testcaddy.Main(m) }

// service is a Caddy whose process is replaced. Its binary is a link of its own,
// beside which files say what version it is and what it does wrong.
type service struct {
	t        testing.TB
	dir      string
	binary   string
	admin    string // address of the admin endpoint
	port     int    // of the address ipv4/127.0.0.1
	tlsPort  int
	cmd      *exec.Cmd
	exited   chan struct{} // closed when the first process has ended
	versions int

	mu  sync.Mutex
	log bytes.Buffer
}

// config is the service's configuration. In its texts, $PORT, $TLS and $DIR stand for
// what the service has.
type config struct {
	admin    string // default: a Unix socket in $DIR
	gin      string // in the global option gin
	global   string // further global options
	seamless string // in the listener wrapper
	servers  string // default: protocols h1 h2
	sites    string // default: the app upgrade-main at $PORT and $DIR/app.sock
	args     []string
	env      []string
	wrap     []string
}

const defaultSites = `http://localhost:$PORT {
	bind ipv4/127.0.0.1
	gin upgrade-main
}
https://localhost:$TLS {
	bind ipv4/127.0.0.1
	tls internal
	gin upgrade-main
}
http://unix.localhost {
	bind unixsock/$DIR/app.sock
	gin upgrade-main
}
`

// start starts a service. All its processes are ended after the test, which fails if
// the race detector found something in one.
func start(t testing.TB, c config) *service {
	t.Helper()
	dir, err := os.MkdirTemp("", "cgu") // short: it is part of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, dir: dir, binary: filepath.Join(dir, "caddy"), port: testcaddy.FreePort(t), tlsPort: testcaddy.FreePort(t), exited: make(chan struct{})}
	t.Cleanup(func() {
		s.killAll()
		if log := s.text(); children.Races(log) != "" {
			t.Errorf("race in caddy:\n%s", log)
		} else if t.Failed() && testing.Verbose() {
			t.Logf("log of caddy:\n%s", log)
		}
		_ = os.RemoveAll(dir)
	})
	s.deploy("")
	s.admin = c.admin
	if s.admin == "" {
		s.admin = "unix/" + filepath.Join(dir, "admin.sock")
	}
	s.write("Caddyfile", s.expand(c))
	args := append([]string{"run", "--config", filepath.Join(dir, "Caddyfile")}, c.args...)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$DIR", dir)
	}
	command := append(append(slices.Clone(c.wrap), s.binary), args...)
	s.cmd = exec.Command(command[0], command[1:]...)
	s.cmd.Dir = dir
	s.cmd.Env = append(append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir+"/data", "XDG_CONFIG_HOME="+dir+"/config", "GIN_MODE=", "GORACE=halt_on_error=0"), c.env...)
	out, in, err := os.Pipe() // which the successors have too
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr = in, in
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	go func() { _, _ = io.Copy(s, out) }()
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	s.eventually("it serves", func() bool { return strings.Contains(s.text(), "serving initial configuration") })
	if strings.Contains(s.expand(c), "tls internal") {
		client := testcaddy.Client(t, "https") // certificates are made in the background
		s.eventually("it has a certificate", func() bool {
			_, err := s.ask(client, s.tlsURL())
			return err == nil
		})
		client.CloseIdleConnections()
	}
	return s
}

// expand returns the whole Caddyfile.
func (s *service) expand(c config) string {
	sites := c.sites
	if sites == "" {
		sites = defaultSites
	}
	gin := c.gin
	if gin == "" {
		gin = "upgrade {\nprobation 300ms\ndrain 5s\n}"
	}
	servers := c.servers
	if servers == "" {
		servers = "protocols h1 h2"
	}
	text := "{\nadmin " + s.admin + "\nskip_install_trust\nstorage file_system $DIR/storage\nhttp_port $PORT\nhttps_port $TLS\nauto_https disable_redirects\n" +
		"servers {\nlistener_wrappers {\nseamless {\n" + c.seamless + "\n}\n}\n" + servers + "\n}\ngin {\n" + gin + "\n}\n" + c.global + "\n}\n" + sites
	return strings.NewReplacer("$PORT", strconv.Itoa(s.port), "$TLS", strconv.Itoa(s.tlsPort), "$DIR", s.dir).Replace(text)
}

// Write takes what the processes print.
func (s *service) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// text returns what the processes printed, without the requests to the admin API.
func (s *service) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var text strings.Builder
	for line := range strings.Lines(s.log.String()) {
		if !strings.Contains(line, `"msg":"received request"`) {
			text.WriteString(line)
		}
	}
	return text.String()
}

func (s *service) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// deploy puts a new version of the binary in place, as one does: by renaming. It
// returns the version.
func (s *service) deploy(fault string) string {
	s.t.Helper()
	s.versions++
	version := fmt.Sprintf("v%d", s.versions)
	s.write("caddy.version", version)
	s.write("caddy.fault", fault)
	s.put(testcaddy.Binary(s.t))
	return version
}

// put puts a file where the binary is.
func (s *service) put(file string) {
	s.t.Helper()
	next := s.binary + ".new"
	_ = os.Remove(next)
	if err := os.Link(file, next); err != nil {
		out, err := exec.Command("cp", file, next).CombinedOutput()
		if err != nil {
			s.t.Fatalf("%v: %s", err, out)
		}
	}
	if err := os.Rename(next, s.binary); err != nil {
		s.t.Fatal(err)
	}
}

// event is a step as the command prints it.
type event struct {
	Step    string  `json:"step"`
	After   float64 `json:"after"`
	PID     int     `json:"pid"`
	Version string  `json:"version"`
	Error   string  `json:"error"`
	Result  *struct {
		OldPID        int      `json:"old_pid"`
		NewPID        int      `json:"new_pid"`
		Listeners     int      `json:"listeners"`
		Moved         int      `json:"moved"`
		Drained       int      `json:"drained"`
		ClosedByLimit int      `json:"closed_by_limit"`
		Warnings      []string `json:"warnings"`
	} `json:"result"`
}

// command runs a subcommand of `caddy gin`, and returns what it printed.
func (s *service) command(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := exec.Command(testcaddy.Binary(s.t), append([]string{"gin"}, args...)...)
	cmd.Args = append(cmd.Args, "--address", s.admin)
	cmd.Env = append(os.Environ(), "HOME="+s.dir)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if run := cmd.Run(); run != nil && cmd.ProcessState == nil {
		s.t.Fatal(run)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// upgrade runs `caddy gin upgrade` and returns the steps.
func (s *service) upgrade(args ...string) (steps []event, stderr string, code int) {
	s.t.Helper()
	out, stderr, code := s.command(append([]string{"upgrade", "--json"}, args...)...)
	for line := range strings.Lines(out) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("%v: %s", err, line)
		}
		steps = append(steps, e)
	}
	return steps, stderr, code
}

// mustUpgrade is upgrade that succeeds. It returns the last step.
func (s *service) mustUpgrade() event {
	s.t.Helper()
	steps, stderr, code := s.upgrade()
	if code != 0 {
		s.t.Fatalf("exit code %d: %s\n%s", code, stderr, s.text())
	}
	return steps[len(steps)-1]
}

// pids returns the processes of the service that have not ended.
func (s *service) pids() []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && strings.HasPrefix(exe, s.dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// onlyProcess waits until there is one process, and returns its ID.
func (s *service) onlyProcess() int {
	s.t.Helper()
	s.eventually("there is one process", func() bool { return len(s.pids()) == 1 })
	return s.pids()[0]
}

func (s *service) killAll() {
	deadline := time.Now().Add(10 * time.Second)
	for _, pid := range s.pids() {
		_ = syscall.Kill(pid, syscall.SIGTERM) // so that the race detector can tell
	}
	for len(s.pids()) > 0 {
		if time.Now().After(deadline) {
			for _, pid := range s.pids() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s *service) eventually(what string, cond func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain: %s\n%s", what, s.text())
		}
	}
}

// process is what the app tells of the process that answers.
type process struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
}

// ask asks who answers, over a connection of a client.
func (s *service) ask(client *http.Client, url string) (process, error) {
	var p process
	resp, err := client.Get(url + "/process")
	if err != nil {
		return p, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	return p, err
}

// url is where the app is without TLS, and tlsURL where it is with.
func (s *service) url() string    { return fmt.Sprintf("http://localhost:%d", s.port) }
func (s *service) tlsURL() string { return fmt.Sprintf("https://localhost:%d", s.tlsPort) }

// adminClient returns a client of the admin endpoint.
func (s *service) adminClient(keepAlive bool) *http.Client {
	network, address := "tcp", s.admin
	if path, ok := strings.CutPrefix(s.admin, "unix/"); ok {
		network, address = "unix", path
	}
	transport := &http.Transport{
		DisableKeepAlives: !keepAlive,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// adminURL returns the URL of a path of the admin API.
func (s *service) adminURL(path string) string {
	if strings.HasPrefix(s.admin, "unix/") {
		return "http://127.0.0.1" + path
	}
	return "http://" + s.admin + path
}
