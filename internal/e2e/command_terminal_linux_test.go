package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// commandPTY opens a pseudo-terminal of a size. What is written to it is
// collected.
func commandPTY(t *testing.T, columns, rows int) (terminal *os.File, out *commandOutput) {
	t.Helper()
	controller, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	fd := int(controller.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)})
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	out = new(commandOutput)
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(out, controller) // ends with EIO when nobody has the terminal
	}()
	t.Cleanup(func() {
		_ = terminal.Close()
		<-read
		_ = controller.Close()
	})
	return terminal, out
}

func TestCommandTableFitsTheTerminal(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\ngin hello\n}"})
	terminal, out := commandPTY(t, 90, 20)
	cmd := exec.Command(testcaddy.Binary(t), "gin", "routes", commandAdmin(s))
	cmd.Stdout = terminal
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	out.since(t, 0, "index")
	testcaddy.Eventually(t, "the last line", func() bool { return strings.HasSuffix(out.String(), "\r\n") })
	for _, line := range strings.Split(strings.TrimSpace(out.String()), "\r\n") {
		if utf8.RuneCountInString(line) > 90 {
			t.Errorf("%q is too long", line)
		}
	}
	if !strings.Contains(out.String(), " …") || !strings.Contains(out.String(), "hello.(*server).index\r\n") || strings.Contains(out.String(), "github.com/caddy-gin") {
		t.Errorf("got %q", out)
	}
}

func TestCommandWatchOnATerminal(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, commandWatchSite("one"))
	terminal, out := commandPTY(t, 60, 3)
	cmd := exec.Command(testcaddy.Binary(t), "gin", "listeners", "--watch", "--interval", "100ms", commandAdmin(s))
	cmd.Stdin, cmd.Stdout = terminal, terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	testcaddy.Eventually(t, "three screens", func() bool { return strings.Count(out.String(), "\x1b[HBOUND") >= 3 })
	commandInterrupt(t, cmd)
	out.since(t, 0, "\x1b[?1049l")
	text, ok := strings.CutPrefix(out.String(), "\x1b[?1049h\x1b[?25l\x1b[H")
	text, ok2 := strings.CutSuffix(text, "\x1b[?25h\x1b[?1049l")
	if !ok || !ok2 {
		t.Fatalf("got %q", out)
	}
	for _, screen := range strings.Split(text, "\x1b[H") {
		screen, ok := strings.CutSuffix(screen, "\x1b[J")
		lines := strings.Split(screen, "\r\n")
		if !ok || len(lines) > 3 {
			t.Errorf("got %q", screen)
		}
		for _, line := range lines {
			line, ok := strings.CutSuffix(line, "\x1b[K")
			if !ok || utf8.RuneCountInString(line) > 60 {
				t.Errorf("got %q", line)
			}
		}
	}
}
