package e2e

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

var sessionUpdate = flag.Bool("update", false, "write docs/session.md anew")

const (
	sessionPage = "../../docs/session.md"
	sessionPort = "18080" // on the page; a free one of the same length takes its place
)

// session runs the commands of the page in a folder of their own.
type session struct {
	t    *testing.T
	dir  string
	port string
	env  []string
	pid  int // of the Caddy that `caddy start` has started, 0 after `caddy stop`
}

// What differs from one run to the next.
var sessionVaries = regexp.MustCompile(`\b(\d+(\.\d+)?(µs|ms|s|m|h|d))+\b|\b[0-9a-f]{16}\b|\bpid[ =]\d+|user [\w-]+|: \d+ overflows|\d+ connections dropped`)

// sessionNormal leaves out what differs from one run to the next.
func sessionNormal(text string) string {
	return commandSqueeze(sessionVaries.ReplaceAllString(text, "*"))
}

// The commands on the page print what the page says.
func TestSession(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the page was written on Linux")
	}
	testcaddy.Program(t, "curl")
	page, err := os.ReadFile(sessionPage)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t)
	now := fence.ReplaceAllStringFunc(string(page), s.block)
	if s.pid != 0 {
		t.Error("the page does not end with caddy stop")
	}
	switch {
	case sessionNormal(now) == sessionNormal(string(page)):
	case *sessionUpdate && !t.Failed():
		if err := os.WriteFile(sessionPage, []byte(now), 0o644); err != nil { //nolint:gosec // a page for all to read
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/session.md differs; go test ./internal/e2e -run Session -update writes it anew:\n%s", sessionDiff(string(page), now))
	}
}

func newSession(t *testing.T) *session {
	t.Helper()
	dir, err := os.MkdirTemp("", "cg") // short: it is part of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &session{t: t, dir: dir, port: strconv.Itoa(testcaddy.FreePort(t))}
	if err := os.Symlink(testcaddy.Binary(t), filepath.Join(dir, "caddy")); err != nil {
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir,
		"GIN_MODE=", "LC_ALL=C", "CADDY_ADMIN=unix/"+filepath.Join(dir, "admin.sock"))
	t.Cleanup(func() {
		if s.pid == 0 {
			return
		}
		if process, err := os.FindProcess(s.pid); err == nil {
			_ = process.Kill()
		}
	})
	return s
}

// block writes the file of a block, or runs its commands, and returns it as it
// has to be.
func (s *session) block(block string) string {
	parts := fence.FindStringSubmatch(block)
	switch parts[2] {
	case "caddyfile":
		text := strings.ReplaceAll(parts[3], sessionPort, s.port)
		if err := os.WriteFile(filepath.Join(s.dir, "Caddyfile"), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return block
	case "console":
		var out strings.Builder
		for line := range strings.Lines(parts[3]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				out.WriteString(line)
				out.WriteString(s.run(strings.TrimSuffix(command, "\n")))
			}
		}
		return "```console\n" + out.String() + "```"
	}
	return block
}

// run runs a command and returns what it printed. What it began is there
// afterwards: a stream of a command in the background, or the end of one.
func (s *session) run(command string) string {
	s.t.Helper()
	var before int
	if s.pid != 0 {
		testcaddy.Eventually(s.t, "the end of finished connections", func() bool { return s.connections() == s.streams() })
		before = s.streams()
	}
	stdout, err := os.Create(filepath.Join(s.dir, "stdout")) // no pipe: a process in the background would keep it open
	if err != nil {
		s.t.Fatal(err)
	}
	defer stdout.Close()
	stderr, err := os.Create(filepath.Join(s.dir, "stderr"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer stderr.Close()
	cmd := exec.Command("sh", "-c", strings.ReplaceAll(command, sessionPort, s.port))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.env, stdout, stderr
	if err := cmd.Run(); err != nil {
		log, _ := os.ReadFile(stderr.Name())
		s.t.Errorf("%s: %v\n%s", command, err, log)
	}
	text, err := os.ReadFile(stdout.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	switch {
	case command == "caddy start":
		if m := regexp.MustCompile(`pid=(\d+)`).FindSubmatch(text); m != nil {
			s.pid, _ = strconv.Atoi(string(m[1]))
		}
	case command == "caddy stop":
		s.pid = 0
	case strings.HasSuffix(command, "&"):
		testcaddy.Eventually(s.t, "the stream", func() bool { return s.streams() > before })
	case strings.Contains(command, "--close"):
		testcaddy.Eventually(s.t, "the end of the generation", func() bool { return len(s.generations()) == 1 })
	}
	return strings.ReplaceAll(string(text), s.port, sessionPort)
}

type sessionGeneration struct{ Streams, Hijacked int }

func (s *session) generations() (infos []sessionGeneration) {
	s.get("generations", &infos)
	return infos
}

// streams returns how many streams are open.
func (s *session) streams() (n int) {
	for _, g := range s.generations() {
		n += g.Streams + g.Hijacked
	}
	return n
}

// connections returns how many connections are open.
func (s *session) connections() (n int) {
	var info struct {
		Listeners []struct{ Open int }
	}
	s.get("listeners", &info)
	for _, l := range info.Listeners {
		n += l.Open
	}
	return n
}

func (s *session) get(what string, v any) {
	s.t.Helper()
	client := unixClient(s.t, filepath.Join(s.dir, "admin.sock"))
	resp, err := client.Get("http://caddy/gin/" + what)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		s.t.Fatal(err)
	}
}

// sessionDiff returns the lines of either text that the other has not.
func sessionDiff(page, now string) string {
	var diff strings.Builder
	for _, side := range []struct{ sign, text, other string }{{"-", page, now}, {"+", now, page}} {
		other := sessionNormal(side.other)
		for line := range strings.Lines(side.text) {
			if !strings.Contains(other, sessionNormal(line)) {
				diff.WriteString(side.sign + line)
			}
		}
	}
	return diff.String()
}
