package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// checkRun runs `caddy gin check`.
func checkRun(t testing.TB, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return checkCommand(t, dir, exec.Command(testcaddy.Binary(t), append([]string{"gin", "check"}, args...)...))
}

func checkCommand(t testing.TB, dir string, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, log bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &log
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "GIN_MODE=")
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), log.String(), cmd.ProcessState.ExitCode()
}

// checkWant runs `caddy gin check` and compares its exit code, and parts of its
// text.
func checkWant(t testing.TB, dir string, code int, args []string, says ...string) (stdout string) {
	t.Helper()
	stdout, stderr, got := checkRun(t, dir, args...)
	if got != code {
		t.Errorf("%v: exit code %d, want %d:\n%s%s", args, got, code, stdout, stderr)
	}
	for _, part := range says {
		if !strings.Contains(stdout, part) {
			t.Errorf("%v: want %q:\n%s%s", args, part, stdout, stderr)
		}
	}
	return stdout
}

// checkFreePort returns a port that was free a moment ago.
func checkFreePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// checkNginx starts an nginx on a port of 127.0.0.1.
func checkNginx(t *testing.T) (port, pid int) {
	t.Helper()
	program := testcaddy.Program(t, "nginx")
	dir := t.TempDir()
	for range 5 { // the port may be taken meanwhile
		port = checkFreePort(t)
		conf := fmt.Sprintf("daemon off; master_process off; pid %s/pid; error_log %s/log; events {}\n"+
			"http { access_log off; client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;\n"+
			"server { listen 127.0.0.1:%d; return 204; } }", dir, dir, dir, dir, dir, dir, dir, port)
		file := filepath.Join(dir, "conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program, "-c", file, "-p", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
			select {
			case <-ended:
				deadline = time.Time{}
			default:
				resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
				if err == nil {
					resp.Body.Close()
					if strings.HasPrefix(resp.Header.Get("Server"), "nginx") {
						return port, cmd.Process.Pid
					}
				}
			}
			if deadline.IsZero() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	log, _ := os.ReadFile(filepath.Join(dir, "log"))
	t.Fatalf("nginx did not start: %s", log)
	return 0, 0
}

func TestCheckPortHeldByNginx(t *testing.T) {
	t.Parallel()
	port, pid := checkNginx(t)
	dir := t.TempDir()
	number := strconv.Itoa(port)
	who := fmt.Sprintf("in use by nginx (pid %d, user ", pid)
	checkWant(t, dir, 1, []string{"ipv4/127.0.0.1:" + number}, "ipv4/127.0.0.1:"+number+": something is in the way\n",
		"blocked tcp 127.0.0.1:"+number+", IPv4 only", who, "on 127.0.0.1:"+number, "remedy: stop it or use another port")
	checkWant(t, dir, 1, []string{"--port", number, "ipv4/"}, "no port is given, so it is checked at "+number,
		who, "which a socket on all addresses would have to cover")
	checkWant(t, dir, 1, []string{"-p", number, "dual/"}, who, "which a socket for both families would have to cover")
	checkWant(t, dir, 1, []string{"tcp4/127.0.0.1:" + number}, who)
	checkWant(t, dir, 0, []string{"ipv4/127.0.0.2:" + number}, "ok      tcp 127.0.0.2:"+number)
	// the worst of all counts, and all are told
	checkWant(t, dir, 1, []string{"ipv4/127.0.0.2:" + number, "ipv4/127.0.0.1:" + number, "ipv4/127.0.0.3:" + number}, who, "127.0.0.3:"+number+": can be bound")
	checkWant(t, dir, 2, []string{"ipv4/127.0.0.1:" + number, "ipv4/?nope:1"}, who, `unknown option "nope"`)

	stdout, stderr, code := checkRun(t, dir, "--json", "ipv4/127.0.0.1:"+number, "ipv4/127.0.0.2?backlog=64:"+number)
	var reports []struct {
		Address string
		OK      bool
		Options map[string]string
		Targets []struct {
			Network, Target, Family string
			OK                      bool
			Diagnosis               *struct {
				Reason, Remedy string
				Holders        []struct {
					Address, Process string
					Pid              int
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(stdout), &reports); err != nil || code != 1 || stderr != "" || len(reports) != 2 {
		t.Fatalf("%v, code %d: %s%s", err, code, stdout, stderr)
	}
	first, second := reports[0], reports[1]
	if first.OK || len(first.Targets) != 1 || first.Targets[0].Diagnosis == nil || first.Targets[0].Target != "127.0.0.1:"+number {
		t.Fatalf("got %s", stdout)
	}
	d := first.Targets[0].Diagnosis
	if len(d.Holders) != 1 || d.Holders[0].Pid != pid || d.Holders[0].Process != "nginx" || d.Holders[0].Address != "127.0.0.1:"+number || d.Remedy == "" {
		t.Errorf("got %+v", d)
	}
	if !second.OK || second.Options["backlog"] != "64" || len(second.Targets) != 1 || second.Targets[0].Diagnosis != nil {
		t.Errorf("got %s", stdout)
	}
}

// checkSite starts a Caddy on a port of its own and on a Unix socket.
func checkSite(t *testing.T) (s *testcaddy.Server, port int, file string) {
	t.Helper()
	var err error
	for range 5 { // the port may be taken meanwhile
		port = checkFreePort(t)
		s, err = testcaddy.TryStart(t, testcaddy.Config{Global: "gin {\nlistener edge {\nbacklog 77\n}\n}", Sites: fmt.Sprintf(
			"http://localhost:%d {\nbind ipv4/127.0.0.1?use=edge\ngin hello\n}\nhttp://localhost:1 {\nbind unixsock/$DIR/site.sock\ngin hello\n}\n", port)})
		if err == nil {
			return s, port, filepath.Join(s.Dir, "Caddyfile")
		}
	}
	t.Fatal(err)
	return nil, 0, ""
}

func TestCheckAddressesOfARunningCaddy(t *testing.T) {
	t.Parallel()
	s, port, file := checkSite(t)
	address := "ipv4/127.0.0.1:" + strconv.Itoa(port)
	who := fmt.Sprintf("in use by caddy (pid %d, user ", s.Pid)
	note := fmt.Sprintf("note: pid %d runs the same program as this command: if it is the Caddy that you reload", s.Pid)
	if out := checkWant(t, s.Dir, 1, []string{address}, who, note); strings.Contains(out, "options") {
		t.Errorf("got %s", out)
	}
	checkWant(t, s.Dir, 1, []string{"unixsock/" + s.Dir + "/site.sock"}, who, note, "remedy: stop it or use another path")
	checkWant(t, s.Dir, 1, []string{"unixsock/site.sock"}, who) // from the same folder
	checkWant(t, s.Dir, 1, []string{"--config", file}, fmt.Sprintf("ipv4/127.0.0.1?use=edge:%d: something is in the way\n  options: backlog=77\n", port),
		"unixsock/"+s.Dir+"/site.sock: something is in the way", note)
	// it has not noticed
	resp, err := testcaddy.Client(t, "http").Get(fmt.Sprintf("http://127.0.0.1:%d/ping", port))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := s.Load("text/caddyfile", checkRead(t, file)); err != nil {
		t.Errorf("a reload: %v", err)
	}
	s.Stop()
	checkWant(t, s.Dir, 0, []string{"--config", file}, "ok      tcp 127.0.0.1:"+strconv.Itoa(port)+", IPv4 only", "ok      unix "+s.Dir+"/site.sock")
	checkWant(t, s.Dir, 0, []string{"--config", file, "ipv4/127.0.0.1?use=edge&tos=8:0"}, "options: backlog=77, tos=8\n")
	checkWant(t, s.Dir, 2, []string{"--config", file, "ipv4/127.0.0.1?use=egde:0"}, `unknown listener "egde"`, "are edge")
}

func checkRead(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestCheckConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "Caddyfile")
	write := func(sites string) {
		t.Helper()
		s := testcaddy.Server{Dir: dir, HTTPPort: checkFreePort(t), HTTPSPort: checkFreePort(t)}
		if err := os.WriteFile(file, []byte(s.Expand(testcaddy.Config{Sites: sites})), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// HTTPS has UDP for HTTP/3, and a port for redirects beside it
	write("https://localhost:$HTTPS {\nbind ipv4/127.0.0.5\ntls internal\ngin hello\n}\nhttp://localhost:2 {\nbind unix/$DIR/stock.sock\n}")
	out := checkWant(t, dir, 0, []string{"--config", file}, "unix/"+dir+"/stock.sock\n  note: not checked: network unix is not one of this plugin\n")
	if tcp, udp := strings.Count(out, "ok      tcp 127.0.0.5:"), strings.Count(out, "ok      udp 127.0.0.5:"); tcp != 2 || udp != 1 {
		t.Errorf("%d sockets of TCP and %d of UDP:\n%s", tcp, udp, out)
	}
	// twice the same socket, which the start would refuse
	write("http://localhost:$HTTP {\nbind ipv4/127.0.0.5 ipv4/127.0.0.5?backlog=9\n}")
	checkWant(t, dir, 1, []string{"--config", file}, "of this configuration is here already", "ipv4/127.0.0.5:")
	write("http://localhost:$HTTP {\nrespond hello\n}")
	checkWant(t, dir, 0, []string{"--adapter", "caddyfile", "--config", file})
	write("")
	checkWant(t, dir, 0, []string{"--config", file}, "the configuration has no listen addresses")
	write("http://localhost:$HTTP {\nbind ipv4/?nope\ngin hello\n}")
	for _, args := range [][]string{{"--config", file}, {"--config", dir + "/none"}, {"--adapter", "caddyfile"}, {}, {"--bogus"}, {"--port", "65536", "ipv4/"}} {
		stdout, stderr, code := checkRun(t, dir, args...)
		if code != 2 || stdout != "" || strings.Count(stderr, `"level":"error"`) != 1 || strings.Contains(stderr, "Usage") {
			t.Errorf("%v: code %d: %s%s", args, code, stdout, stderr)
		}
		if len(args) == 2 && args[1] == file && !strings.Contains(stderr, `unknown option \"nope\": allowed are backlog`) {
			t.Errorf("got %s", stderr)
		}
	}
}

func TestCheckHelp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, code := testcaddy.Run(t, dir, "gin", "check", "--help")
	for _, part := range []string{"Exit codes:", "0  all can be bound", "caddy gin check ipv4/192.0.2.10:80", "--json", "(default 443)"} {
		if code != 0 || !strings.Contains(out, part) {
			t.Errorf("code %d, want %q: %s", code, part, out)
		}
	}
	if out, code = testcaddy.Run(t, dir, "gin"); code != 0 || !strings.Contains(out, "check ") {
		t.Errorf("code %d: %s", code, out)
	}
	if out, code = testcaddy.Run(t, dir, "gin", "chekc"); code != 2 || !strings.Contains(out, `unknown subcommand \"chekc\" of gin`) {
		t.Errorf("code %d: %s", code, out)
	}
}
