package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// commandReload writes the configuration of a server and runs `caddy gin
// reload`.
func commandReload(t *testing.T, s *testcaddy.Server, config testcaddy.Config, code int, args []string, says ...string) (stdout, stderr string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, "Caddyfile"), []byte(s.Expand(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, got := checkCommand(t, s.Dir, exec.Command(testcaddy.Binary(t), append([]string{"gin", "reload"}, args...)...))
	if got != code {
		t.Errorf("%v: exit code %d, want %d:\n%s%s", args, got, code, stdout, stderr)
	}
	for _, part := range says {
		if !strings.Contains(stdout, part) {
			t.Errorf("%v: want %q:\n%s%s", args, part, stdout, stderr)
		}
	}
	return stdout, stderr
}

// commandReport is what --json prints.
type commandReport struct {
	Unchanged   bool
	Generation  uint64
	Hash        string
	Carried     int64
	Closed      int
	LoadSeconds float64 `json:"load_seconds"`
	WaitSeconds float64 `json:"wait_seconds"`
	Draining    []struct {
		ID      uint64
		State   string
		Streams int
	}
}

func commandReloadJSON(t *testing.T, s *testcaddy.Server, config testcaddy.Config, code int, args ...string) (report commandReport) {
	t.Helper()
	out, _ := commandReload(t, s, config, code, append(args, "--json"))
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return report
}

// commandReloadSite is the app stream-main on a socket of the plugin's.
func commandReloadSite(value string) testcaddy.Config {
	config := streamSite(true, value)
	config.Exclusive = true
	config.Sites = "http://localhost:$HTTP {\nbind ipv4/127.0.0.1\ngin stream-main {\nconfig {\nvalue " + value + "\n}\n}\n}"
	return config
}

func TestCommandReloadWaits(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, commandReloadSite("one"))
	if out, _ := commandReload(t, s, commandReloadSite("one"), 0, nil); out != "unchanged: generation 1 goes on\n" {
		t.Errorf("got %q", out)
	}
	if r := commandReloadJSON(t, s, commandReloadSite("one"), 0); !r.Unchanged || r.Generation != 1 || r.Draining == nil {
		t.Errorf("got %+v", r)
	}
	commandReload(t, s, commandReloadSite("one"), 0, []string{"--force"}, "loaded in ", ": generation 2, hash ", "\ncarried over: ",
		"waiting up to 30s: generation 1 has no request or stream, and is about to be released\ndrained after ")

	stream := streamGet(t, testcaddy.Client(t, "http"), s.HTTP("/stubborn"))
	conn := lifeDial(t, s, "/ws")
	lifeMustEcho(t, conn, "one")
	r := commandReloadJSON(t, s, commandReloadSite("two"), 0, "--wait", "0")
	if r.Unchanged || r.Generation != 3 || r.Hash == "" || r.Carried < 1 || r.LoadSeconds <= 0 || len(r.Draining) != 1 || r.Draining[0].ID != 2 || r.Draining[0].Streams != 1 || r.Draining[0].State != "draining" {
		t.Errorf("got %+v", r)
	}
	commandReload(t, s, commandReloadSite("three"), 3, []string{"--wait", "2500ms"}, ": generation 4, hash ", "not drained after 2.5s: generation 2 has ",
		" in flight (1 stream), 1 hijacked connection, the oldest for ")
	if _, message, err := conn.ReadMessage(); err != nil || string(message) != "draining" {
		t.Errorf("got %q, %v", message, err)
	}
	lifeMustEcho(t, conn, "one")

	commandReload(t, s, commandReloadSite("four"), 0, []string{"--wait", "2500ms", "--close-streams"}, "not drained after 2.5s: generation 2 has ", "\nended 2 streams\n", "\ndrained after ")
	if _, err := io.Copy(io.Discard, stream); err == nil {
		t.Error("the event stream has ended well, want an abort")
	}
	if _, err := lifeEcho(conn, "hi"); err == nil {
		t.Error("the WebSocket lives")
	}
}

func TestCommandGenerationsClose(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, streamSite(true, "one"))
	streamGet(t, testcaddy.Client(t, "http"), s.HTTP("/stubborn"))
	commandReload(t, s, streamSite(true, "two"), 0, []string{"--wait", "0"}, "still there: generation 1 has 1 request in flight (1 stream), the oldest for ")
	commandWant(t, s, []string{"generations"}, "ID STATE AGE DRAINING REQUESTS STREAMS HIJACKED OLDEST HASH APPS\n", "\n 1 draining ", "\n 2 live ")
	if out, _ := commandWant(t, s, []string{"generations", "--close", "1"}); out != "generation 1: 1 stream is being ended\n" {
		t.Errorf("got %q", out)
	}
	testcaddy.Eventually(t, "one generation", func() bool {
		out, _ := commandWant(t, s, []string{"generations"})
		return strings.Count(out, "\n") == 2
	})
	commandReload(t, s, streamSite(true, "three"), 0, []string{"--wait", "0"})
	if out, _ := commandWant(t, s, []string{"generations", "--close", "2", "--json"}); out != "{\n\t\"closed\": 0\n}\n" {
		t.Errorf("got %q", out)
	}
}

func TestCommandReloadRefused(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, streamSite(true, "one"))
	for _, test := range []struct {
		config string
		args   []string
		code   int
		says   string
	}{
		{"http://localhost:$HTTP {\ngin hello {\nconfig {\nfail_build true\n}\n}\n}", nil, 1, "refused, the configuration before goes on: "},
		{"http://localhost:$HTTP {\ngin {\n", nil, 2, "adapting config using caddyfile: "},
		{"http://localhost:$HTTP {\nrespond\n", []string{"--config", "nothing"}, 2, "nothing: no such file or directory"},
		{"", []string{"--wait", "-1s"}, 2, "--wait: -1s is negative"},
		{"", []string{"--wait", "soon"}, 2, "invalid argument"},
		{"", []string{"--address", "localhost:1-2"}, 2, "is not the address of an admin endpoint"},
		{"", []string{"--address", fmt.Sprintf("localhost:%d", checkFreePort(t))}, 1, "no Caddy answers at localhost:"},
	} {
		stdout, stderr := commandReload(t, s, testcaddy.Config{Sites: test.config}, test.code, test.args)
		if stdout != "" || !strings.Contains(stderr, test.says) || strings.Count(stderr, `"level":"error"`) != 1 {
			t.Errorf("%v: want %q:\n%s%s", test.args, test.says, stdout, stderr)
		}
	}
	stdout, stderr, code := checkCommand(t, t.TempDir(), exec.Command(testcaddy.Binary(t), "gin", "reload"))
	if code != 2 || !strings.Contains(stderr, "there is no Caddyfile in the current folder: name the configuration file by --config") {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	commandWant(t, s, []string{"generations"}, "\n 1 live ")
}

// The new configuration may have no Gin app, and its admin endpoint elsewhere.
func TestCommandReloadMovesOn(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, streamSite(true, "one"))
	old := commandAdmin(s)
	moved := streamSite(true, "two")
	moved.Global += "\nadmin unix/$DIR/elsewhere.sock"
	r := commandReloadJSON(t, s, moved, 0, old)
	if r.Generation != 2 || len(r.Draining) != 0 {
		t.Errorf("got %+v", r)
	}
	bare := testcaddy.Config{Global: "admin unix/$DIR/elsewhere.sock", Sites: "http://localhost:$HTTP {\nrespond hello\n}"}
	commandReload(t, s, bare, 0, nil, ": a configuration without a Gin app\n", "waiting up to 30s: generation 2 has no request or stream, and is about to be released\ndrained after ")
}
