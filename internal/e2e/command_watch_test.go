package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// commandOutput is what a command has printed so far.
type commandOutput struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements [io.Writer].
func (o *commandOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *commandOutput) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// since waits until a text is printed after the first n bytes, and returns how
// many there are then.
func (o *commandOutput) since(t *testing.T, n int, text string) int {
	t.Helper()
	testcaddy.Eventually(t, text, func() bool { return strings.Contains(o.String()[n:], text) })
	return len(o.String())
}

// commandWatch starts `caddy gin listeners --watch`.
func commandWatch(t *testing.T, s *testcaddy.Server, args ...string) (*exec.Cmd, *commandOutput) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt for another process")
	}
	out := new(commandOutput)
	cmd := exec.Command(testcaddy.Binary(t), append([]string{"gin", "listeners", "--watch", "--interval", "100ms", commandAdmin(s)}, args...)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd, out
}

// commandInterrupt ends a command that must end well by that.
func commandInterrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func commandWatchSite(greeting string) testcaddy.Config {
	return testcaddy.Config{
		Exclusive: true,
		Sites:     "http://localhost:$HTTP {\nbind ipv4/127.0.0.1\ngin hello {\nconfig {\ngreeting " + greeting + "\n}\n}\n}",
	}
}

// Tables follow each other, over a reload and a time without an answer, with
// the rates of new connections.
func TestCommandWatch(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, commandWatchSite("one"))
	cmd, out := commandWatch(t, s)
	const header = "\n\nBOUND "
	seen := out.since(t, 0, header)
	first, _, _ := strings.Cut(out.String(), "\n\n")
	lines := strings.Split(commandSqueeze(first), "\n")
	if lines[0] != "BOUND PROTO OPEN ACCEPTED PER S QUEUE GENERATIONS CARRIED CONFIGURED" || !strings.Contains(lines[1], " tcp 0 0 - 0/") {
		t.Errorf("got %q", lines)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("got %q", out)
	}
	for range 4 {
		commandGet(t, s, "/ping")
	}
	testcaddy.Eventually(t, "four connections", func() bool {
		return strings.Contains(commandSqueeze(out.String()), " tcp 0 4 0.0 ") || strings.Contains(commandSqueeze(out.String()), " tcp 4 4 0.0 ")
	})
	if err := s.Reload(commandWatchSite("two")); err != nil {
		t.Fatal(err)
	}
	testcaddy.Eventually(t, "the other generation", func() bool {
		return strings.Contains(commandSqueeze(out.String()[seen:]), " 2 - ipv4/")
	})
	admin := filepath.Join(s.Dir, "admin.sock")
	if err := os.Rename(admin, admin+".away"); err != nil {
		t.Fatal(err)
	}
	seen = out.since(t, len(out.String()), "no Caddy answers at unix/"+admin)
	if err := os.Rename(admin+".away", admin); err != nil {
		t.Fatal(err)
	}
	out.since(t, seen, header)
	commandInterrupt(t, cmd)
}

func TestCommandWatchJSON(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, commandWatchSite("one"))
	cmd, out := commandWatch(t, s, "--json")
	testcaddy.Eventually(t, "three documents", func() bool { return strings.Count(out.String(), "\n}\n") >= 3 })
	commandInterrupt(t, cmd)
	decoder := json.NewDecoder(strings.NewReader(out.String()))
	for range 3 {
		var document struct {
			Listeners []struct{ Bound string }
		}
		if err := decoder.Decode(&document); err != nil || len(document.Listeners) != 1 {
			t.Fatalf("%v, %+v", err, document)
		}
	}
}
