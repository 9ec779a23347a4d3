//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/children"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// activated is a Caddy that was started with sockets.
type activated struct {
	*testcaddy.Server // never started: for its folder and its ports
	t                 *testing.T
	exited            chan struct{}
	mu                sync.Mutex
	log               bytes.Buffer
}

// Write implements [io.Writer] for the log.
func (a *activated) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.Write(p)
}

func (a *activated) text() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.String()
}

func newActivated(t *testing.T, httpPort, httpsPort int) *activated {
	t.Helper()
	dir, err := os.MkdirTemp("", "sd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return &activated{
		Server: &testcaddy.Server{Dir: dir, HTTPPort: httpPort, HTTPSPort: httpsPort},
		t:      t, exited: make(chan struct{}),
	}
}

// start runs a program that becomes Caddy, until the end of the test.
func (a *activated) start(config testcaddy.Config, env []string, files []*os.File, program string, args ...string) {
	a.t.Helper()
	file := filepath.Join(a.Dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(a.Expand(config)), 0o600); err != nil {
		a.t.Fatal(err)
	}
	cmd := exec.Command(program, append(args, testcaddy.Binary(a.t), "run", "--config", file)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = a.Dir, a, a, files
	cmd.Env = append(append(os.Environ(), "HOME="+a.Dir, "XDG_DATA_HOME="+a.Dir, "XDG_CONFIG_HOME="+a.Dir), env...)
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		close(a.exited)
	}()
	a.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-a.exited:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-a.exited
			a.t.Errorf("caddy did not stop")
		}
		if log := a.text(); a.t.Failed() || children.Races(log) != "" {
			a.t.Errorf("log of caddy:\n%s", log)
		}
	})
}

// pass starts Caddy with sockets, as systemd does: the numbers of the
// descriptors begin at 3, and the variable names the process that is to have
// them.
func (a *activated) pass(config testcaddy.Config, names string, sockets ...interface{ File() (*os.File, error) }) {
	a.t.Helper()
	var files []*os.File
	for _, s := range sockets {
		file, err := s.File()
		if err != nil {
			a.t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		files = append(files, file)
	}
	a.start(config, []string{"LISTEN_FDS=" + strconv.Itoa(len(files)), "LISTEN_FDNAMES=" + names}, files,
		testcaddy.Program(a.t, "sh"), "-c", `export LISTEN_PID=$$; exec "$0" "$@"`)
	testcaddy.Eventually(a.t, "caddy serves", func() bool {
		select {
		case <-a.exited:
			a.t.Fatalf("caddy did not start:\n%s", a.text())
		default:
		}
		return strings.Contains(a.text(), "serving initial configuration")
	})
}

// load loads a configuration through the admin API, and returns its complaint.
func (a *activated) load(config testcaddy.Config) string {
	a.t.Helper()
	resp := lifeRetry(a.t, func() (*http.Response, error) {
		return unixClient(a.t, filepath.Join(a.Dir, "admin.sock")).Post("http://caddy/load", "text/caddyfile", strings.NewReader(a.Expand(config)))
	})
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		return ""
	}
	return string(body)
}

// sdTCP listens on a port that the operating system chose.
func sdTCP(t *testing.T) (*net.TCPListener, int) {
	t.Helper()
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln, ln.Addr().(*net.TCPAddr).Port
}

// sdBoth has TCP and UDP sockets on one port.
func sdBoth(t *testing.T) (*net.TCPListener, *net.UDPConn, int) {
	t.Helper()
	for range 20 {
		ln, port := sdTCP(t)
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			return ln, conn, port
		}
	}
	t.Fatal("no port is free for both")
	return nil, nil, 0
}

// sdWant waits for the answer of a site: certificates are made in the
// background.
func sdWant(t *testing.T, client *http.Client, scheme string, port int, want string) {
	t.Helper()
	var got string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		_, body, err := lifeTry(client, fmt.Sprintf("%s://localhost:%d/", scheme, port))
		if got = body; err == nil && body == want {
			return
		} else if err != nil {
			got = err.Error()
		}
	}
	t.Fatalf("port %d: got %q, want %q", port, got, want)
}

func sdSite(port int, name, answer string) string {
	return fmt.Sprintf("http://localhost:%d {\nbind systemd/%s\nrespond %s\n}\n", port, name, answer)
}

func TestSystemdSocketActivate(t *testing.T) {
	t.Parallel()
	program := testcaddy.Program(t, "systemd-socket-activate")
	a := newActivated(t, 1, 2)
	path := filepath.Join(a.Dir, "web.sock")
	site := func(answer string) testcaddy.Config {
		return testcaddy.Config{Sites: "http:// {\nbind systemd/web\nrespond " + answer + "\n}\n"}
	}
	a.start(site("one"), nil, nil, program, "-l", path, "--fdname=web", "-E", "HOME", "-E", "XDG_DATA_HOME", "-E", "XDG_CONFIG_HOME", "-E", "GORACE")
	testcaddy.Eventually(t, "systemd listens", func() bool {
		_, err := os.Lstat(path)
		return err == nil && strings.Contains(a.text(), "Listening on")
	})
	wantAnswer(t, path, "one") // this starts Caddy
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []string{"two", "three"} {
		if problem := a.load(site(answer)); problem != "" {
			t.Fatal(problem)
		}
		wantAnswer(t, path, answer)
	}
	if after, err := os.Lstat(path); err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
		t.Errorf("systemd's file was changed: %v", err)
	}
}

func TestSystemdSeveralSockets(t *testing.T) {
	t.Parallel()
	one, onePort := sdTCP(t)
	two, twoPort := sdTCP(t)
	secure, quic, tlsPort := sdBoth(t)
	a := newActivated(t, onePort, tlsPort)
	path := filepath.Join(a.Dir, "files.sock")
	files, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = files.Close() }()
	config := func(n string) testcaddy.Config {
		return testcaddy.Config{
			Global: "auto_https disable_redirects\n",
			Sites: sdSite(onePort, "web", "one"+n) + sdSite(twoPort, "web", "two"+n) +
				fmt.Sprintf("https://localhost:%d {\nbind systemd/web\ntls internal\nrespond tls%s\n}\n", tlsPort, n) +
				"http://localhost:9 {\nbind systemd/files\nrespond files" + n + "\n}\n",
		}
	}
	a.pass(config("1"), "web:web:files:web:web", one, two, files, secure, quic)
	for _, n := range []string{"1", "2", "3"} {
		if n != "1" {
			if problem := a.load(config(n)); problem != "" {
				t.Fatal(problem)
			}
		}
		sdWant(t, testcaddy.Client(t, "http"), "http", onePort, "one"+n)
		sdWant(t, testcaddy.Client(t, "http"), "http", twoPort, "two"+n)
		sdWant(t, testcaddy.Client(t, "h2"), "https", tlsPort, "tls"+n)
		sdWant(t, testcaddy.Client(t, "h3"), "https", tlsPort, "tls"+n)
		wantAnswer(t, path, "files"+n)
	}
	for name, c := range map[string]struct{ site, says string }{
		"unknown name": {sdSite(onePort, "wbe", "x"), "systemd passed no socket of that name; it passed files (unix " + path + "), web (tcp 127.0.0.1:"},
		"no port":      {sdSite(9, "web", "x"), "no socket of that name is at port 9; systemd passed web (tcp 127.0.0.1:"},
		"no UDP": {fmt.Sprintf("https://localhost:%d {\nbind systemd/web\ntls internal\nrespond x\n}\n", twoPort),
			fmt.Sprintf("HTTP/3 needs a UDP socket at port %d of that name, and systemd passed ", twoPort)},
	} {
		if problem := a.load(testcaddy.Config{Global: "auto_https disable_redirects\n", Sites: c.site}); !strings.Contains(problem, c.says) {
			t.Errorf("%s: got %q, which does not say %q", name, problem, c.says)
		}
		sdWant(t, testcaddy.Client(t, "http"), "http", onePort, "one3")
	}
	// the sockets are there for a later configuration
	for range 2 {
		if problem := a.load(testcaddy.Config{Sites: sdSite(twoPort, "web", "only")}); problem != "" {
			t.Fatal(problem)
		}
		sdWant(t, testcaddy.Client(t, "http"), "http", twoPort, "only")
		if problem := a.load(config("4")); problem != "" {
			t.Fatal(problem)
		}
		sdWant(t, testcaddy.Client(t, "http"), "http", onePort, "one4")
	}
}

func TestSystemdSocketsOfAnotherProcess(t *testing.T) {
	t.Parallel()
	for env, says := range map[string]string{
		"LISTEN_PID=1": "systemd's sockets are for process 1 (LISTEN_PID), and this one is ",
		"LISTEN_FDS=":  "the process was not started by a .socket unit (LISTEN_FDS is not set)",
	} {
		_, err := testcaddy.TryStart(t, testcaddy.Config{
			Sites: "http://localhost:$HTTP {\nbind systemd/web\nrespond x\n}\n", Env: []string{"LISTEN_FDS=1", "LISTEN_FDNAMES=web", env},
		})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got the error %v, which does not say %q", env, err, says)
		}
	}
}

// TestSystemdLeavesDescriptorsToFd guards the network fd of Caddy beside ours:
// descriptors were closed when the garbage collector came by.
func TestSystemdLeavesDescriptorsToFd(t *testing.T) {
	t.Parallel()
	one, onePort := sdTCP(t)
	two, twoPort := sdTCP(t)
	a := newActivated(t, onePort, 2)
	site := testcaddy.Config{Sites: sdSite(onePort, "web", "one")}
	a.pass(site, "web:other", one, two)
	sdWant(t, testcaddy.Client(t, "http"), "http", onePort, "one")
	for range 3 {
		resp, err := unixClient(t, filepath.Join(a.Dir, "admin.sock")).Get("http://caddy/debug/pprof/heap?gc=1")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	both := fmt.Sprintf("http://localhost:%d {\nbind fd/4\nrespond two\n}\n", twoPort)
	if problem := a.load(testcaddy.Config{Sites: site.Sites + both}); problem != "" {
		t.Fatal(problem)
	}
	sdWant(t, testcaddy.Client(t, "http"), "http", onePort, "one")
	sdWant(t, testcaddy.Client(t, "http"), "http", twoPort, "two")
}
