package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// commandAdmin is the flag that leads to the admin endpoint of a server.
func commandAdmin(s *testcaddy.Server) string {
	return "--address=unix/" + filepath.Join(s.Dir, "admin.sock")
}

// commandRun runs `caddy gin` with the admin endpoint of a server.
func commandRun(t testing.TB, s *testcaddy.Server, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	args = append(append([]string{"gin"}, args...), commandAdmin(s))
	return checkCommand(t, s.Dir, exec.Command(testcaddy.Binary(t), args...))
}

// commandWant is commandRun of a command that must end well, and print some
// texts; several spaces are as one.
func commandWant(t testing.TB, s *testcaddy.Server, args []string, says ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, code := commandRun(t, s, args...)
	if code != 0 {
		t.Errorf("%v: exit code %d:\n%s%s", args, code, stdout, stderr)
	}
	for _, part := range says {
		if !strings.Contains(commandSqueeze(stdout), part) {
			t.Errorf("%v: want %q:\n%s%s", args, part, stdout, stderr)
		}
	}
	return stdout, stderr
}

var commandSpaces = regexp.MustCompile(` +`)

// commandSqueeze makes one space of several.
func commandSqueeze(text string) string { return commandSpaces.ReplaceAllString(text, " ") }

// commandGet requests a path, and reads the answer.
func commandGet(t testing.TB, s *testcaddy.Server, path string) {
	t.Helper()
	resp, err := testcaddy.Client(t, "http").Get(s.HTTP(path))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func TestCommandTables(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{
		Exclusive: true,
		Global:    "servers {\nlistener_wrappers {\nseamless\n}\n}",
		Sites: "http://localhost:$HTTP {\nbind ipv4/127.0.0.1?backlog=64&maxconn=500\nhandle /shop/* {\ngin hello\n}\ngin stream-main\n}\n" +
			"http://localhost:1 {\nbind unixsock/$DIR/site.sock|0660\ngin hello\n}\n",
	})
	commandGet(t, s, "/shop/ping") // no route
	for range 3 {
		commandGet(t, s, "/ping")
	}
	stream := streamGet(t, testcaddy.Client(t, "http"), s.HTTP("/events"))
	defer stream.Close()
	port := strconv.Itoa(s.HTTPPort)

	commandWant(t, s, []string{"apps"}, "APP SITE REQUESTS STREAMS HIJACKED GENERATION AGE SERVER LISTEN\n",
		"\nhello localhost/shop/* 0 0 0 1 ", "\nstream-main localhost 1 1 0 1 ", " srv0 ipv4/127.0.0.1?backlog=64&maxconn=500:"+port+"\n")
	commandWant(t, s, []string{"generations"}, "ID STATE AGE REQUESTS STREAMS HIJACKED OLDEST HASH APPS\n", "\n 1 live ", " 1 1 0 ", " hello stream-main\n")
	commandWant(t, s, []string{"listeners"}, "BOUND PROTO OPEN ACCEPTED PAUSED QUEUE GENERATIONS CARRIED PERMISSIONS CONFIGURED\n",
		"\n127.0.0.1:"+port+" tcp ", "/500 ", " 0/64 1 0 ipv4/127.0.0.1?backlog=64&maxconn=500:"+port+"\n",
		"\n"+filepath.Join(s.Dir, "site.sock")+" unix 0 0 ", " 0660 unixsock/")
	out, _ := commandWant(t, s, []string{"routes"}, "APP METHOD PATTERN REQUESTS ERRORS P50 P99 MW HANDLER\n", "\nhello GET /ping 0 0 - - 0 github.com/")
	commandWant(t, s, []string{"routes", "--app", "stream-main"}, "\nstream-main POST /upload 0 0 - - 0 github.com/caddy-gin/caddy-gin/internal/testcaddy/testapps.")
	for _, line := range strings.Split(out, "\n") {
		if strings.HasSuffix(line, " ") {
			t.Errorf("%q ends with a space", line)
		}
	}
	for _, path := range []string{"apps", "routes", "generations"} {
		commandSame(t, s, path)
	}
	var listeners struct {
		Listeners []struct{ Bound string }
	}
	out, stderr := commandWant(t, s, []string{"listeners", "--json"}, "\n\t\"listeners\": [\n")
	if err := json.Unmarshal([]byte(out), &listeners); err != nil || len(listeners.Listeners) != 2 || stderr != "" {
		t.Errorf("%v: %s%s", err, out, stderr)
	}
}

// commandSame fails the test unless --json prints what the API answers.
func commandSame(t *testing.T, s *testcaddy.Server, path string) {
	t.Helper()
	want, err := s.Admin("/gin/" + path)
	if err != nil {
		t.Fatal(err)
	}
	out, stderr := commandWant(t, s, []string{path, "--json"}, "[\n\t{\n")
	var got bytes.Buffer
	if err := json.Compact(&got, []byte(out)); err != nil || got.String() != string(bytes.TrimSpace(want)) || stderr != "" {
		t.Errorf("%v: %s%s, want %s", err, out, stderr, want)
	}
}

func TestCommandDurations(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\ngin hello\n}"})
	for range 5 {
		commandGet(t, s, "/slow?d=20ms")
	}
	out, _ := commandWant(t, s, []string{"routes"})
	if !regexp.MustCompile(`(?m)^hello +GET +/slow +5 +0 +\d\d?(\.\d)?ms +\d\d?0?(\.\d)?ms +0 +github`).MatchString(out) {
		t.Errorf("got %s", out)
	}
}

func TestCommandEmptyLists(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\nrespond hello\n}"})
	for command, want := range map[string]string{
		"apps":        "the current configuration has no Gin app\n",
		"routes":      "there is no route\n",
		"listeners":   "there is no socket of this plugin's networks (ipv4/, ipv6/, dual/, unixsock/, systemd/)\n",
		"generations": "no configuration with a Gin app is live or drains\n",
	} {
		if out, _ := commandWant(t, s, []string{command}); out != want {
			t.Errorf("%s: got %q", command, out)
		}
	}
}

// The UDP socket of several addresses is bound to all, which looks wider than
// what was asked for.
func TestListenersSaysWhereAWildcardTakesPacketsTo(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux filters packets by their destination")
	}
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{
		Exclusive: true,
		Global:    "auto_https disable_redirects",
		Sites:     "https://localhost:$HTTPS {\nbind dual/localhost\ntls internal\ngin hello\n}",
	})
	commandWant(t, s, []string{"listeners"}, fmt.Sprintf("\n[::]:%d udp 1 - only to 127.0.0.1 ::1 dual/localhost:%[1]d\n", s.HTTPSPort))
}

func TestCommandErrors(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\nhandle /gin/apps {\nrespond \"404 page not found\" 404\n}\n" +
		"handle /gin/routes {\nrespond \"out\nof order\" 500\n}\nhandle /gin/listeners {\nrespond <html>\n}\ngin hello\n}"})
	nobody := fmt.Sprintf("localhost:%d", checkFreePort(t))
	site := fmt.Sprintf("localhost:%d", s.HTTPPort)
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"routes", "--app", "shoe"}, 1, `the current configuration has no Gin app \"shoe\"; its apps are: hello`},
		{[]string{"generations", "--close", "1"}, 1, "generation 1 is live"},
		{[]string{"generations", "--close", "77"}, 1, "there is no generation 77"},
		{[]string{"generations", "--close", "x"}, 2, "invalid argument"},
		{[]string{"apps", "--address", nobody}, 1, "no Caddy answers at " + nobody + " (dial tcp"},
		{[]string{"listeners", "--watch", "--address", nobody}, 1, "start one, or name its admin endpoint by --address or --config"},
		{[]string{"apps", "--address", site}, 1, "the Caddy at " + site + " knows nothing of /gin/apps: it is a binary without the plugin"},
		{[]string{"routes", "--address", site}, 1, "is no admin endpoint of Caddy: HTTP 500 out of order"},
		{[]string{"listeners", "--address", site}, 1, "the answer of /gin/listeners is not that of this version"},
		{[]string{"apps", "--address", "localhost:1-3"}, 2, "is not the address of an admin endpoint, such as localhost:2019"},
		{[]string{"apps", "--config", "nothing"}, 2, "finding the admin endpoint: "},
		{[]string{"apps", "please"}, 2, `takes no argument, but got \"please\"`},
		{[]string{"routes", "--bogus"}, 2, "unknown flag"},
		{[]string{"listeners", "--interval", "2s"}, 2, "--interval is for --watch"},
		{[]string{"listeners", "--watch", "--interval", "1ms"}, 2, "1ms is shorter than 100ms"},
	} {
		args := append([]string{"gin"}, test.args...)
		if test.args[0] == "generations" || test.args[1] == "--app" {
			args = append(args, commandAdmin(s))
		}
		stdout, stderr, code := checkCommand(t, s.Dir, exec.Command(testcaddy.Binary(t), args...))
		if code != test.code || stdout != "" || !strings.Contains(stderr, test.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: code %d, want %d and %q:\n%s%s", test.args, code, test.code, test.says, stdout, stderr)
		}
	}
}

// The admin endpoint is found as Caddy's own commands find it.
func TestCommandFindsTheAdminEndpoint(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\ngin hello\n}"})
	for _, args := range [][]string{{"--config", "Caddyfile"}, {"-c", filepath.Join(s.Dir, "Caddyfile"), "-a", "caddyfile"}} {
		stdout, stderr, code := checkCommand(t, s.Dir, exec.Command(testcaddy.Binary(t), append([]string{"gin", "apps"}, args...)...))
		if code != 0 || !strings.Contains(stdout, "hello") {
			t.Errorf("code %d: %s%s", code, stdout, stderr)
		}
	}
}

func TestCommandHelp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, command := range []string{"apps", "routes", "listeners", "generations", "reload"} {
		out, code := testcaddy.Run(t, dir, "gin", command, "--help")
		for _, part := range []string{"Exit codes:", "  2  a flag is wrong", "$ caddy gin " + command, "--json", "--address", "--config", "--adapter"} {
			if code != 0 || !strings.Contains(out, part) {
				t.Errorf("%s: code %d, want %q: %s", command, code, part, out)
			}
		}
	}
}
