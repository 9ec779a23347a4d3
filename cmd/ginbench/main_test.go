package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/children"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestMain(m *testing.M) { testcaddy.Main(m) }

// bench builds the command and prepares a run of it with a temporary folder
// of its own.
func bench(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string, stdout, stderr *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ginbench.exe")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("building ginbench: %v\n%s", err, out)
	}
	tmp, err := os.MkdirTemp("", "gb") // short: sockets lie below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd = exec.Command(path, append([]string{"-caddy", testcaddy.Binary(t)}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "TMP="+tmp)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, tmp, stdout, stderr
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestTableHasEverySystemWithoutErrors(t *testing.T) {
	t.Parallel()
	cmd, tmp, stdout, stderr := bench(t, "-c", "4", "-d", "50ms", "-rounds", "2")
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	t.Logf("\n%s", stdout)
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	systems := []string{"gin in caddy", "gin alone", "respond", "reverse_proxy tcp", "reverse_proxy unix", "nginx tcp", "nginx unix"}
	const heading = 3
	if len(lines) != heading+len(systems) {
		t.Fatalf("got %d lines, want %d", len(lines), heading+len(systems))
	}
	for i, name := range systems {
		line := strings.TrimSpace(lines[heading+i])
		rest, ok := strings.CutPrefix(line, name+"  ")
		cells := strings.Fields(rest)
		switch {
		case !ok:
			t.Errorf("line %q, want the system %q", line, name)
		case strings.TrimSpace(rest) == "not installed":
			if !strings.HasPrefix(name, "nginx") || children.Program("nginx") != "" {
				t.Errorf("%q: not measured", line)
			}
		case len(cells) < 6 || cells[len(cells)-1] != "0":
			t.Errorf("%q: errors, or cells are missing", line)
		case cells[0] == "0":
			t.Errorf("%q: nothing was measured", line)
		}
	}
	wantEmpty(t, tmp)
}

func TestInterruptLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there is no interrupt to send on Windows")
	}
	cmd, tmp, _, stderr := bench(t, "-c", "4", "-d", "1m", "-rounds", "100")
	cmd.Stderr = nil
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	line, err := bufio.NewReader(io.TeeReader(pipe, stderr)).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "round 1 ") {
		t.Fatalf("got %q, %v, want the beginning of the first round", line, err)
	}
	if runtime.GOOS == "linux" && len(processesIn(t, tmp)) < 2 {
		t.Errorf("found no children in %s", tmp) // then the search below would not find them, either
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if _, err := stderr.ReadFrom(pipe); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 130 {
		t.Errorf("got %v, want exit code 130\n%s", err, stderr)
	}
	wantEmpty(t, tmp)
	if left := processesIn(t, tmp); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
}

// processesIn returns the processes whose working directory is below dir, or
// none where there is no /proc.
func processesIn(t *testing.T, dir string) (pids []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir+"/") {
			pids = append(pids, strings.Split(link, "/")[2])
		}
	}
	return pids
}
