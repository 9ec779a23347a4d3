//go:build linux

package listeners

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// unixChild is the variable that makes the test binary a child process: what
// it is to do, and the path.
const unixChild = "LISTENERS_UNIX_CHILD"

// attempts is what a watcher saw: how often it got in, and why it did not.
type attempts struct{ In, Refused, Denied, Missing, Other int }

// TestUnixChild is no test: it is what child processes run.
func TestUnixChild(t *testing.T) {
	action, path, ok := strings.Cut(os.Getenv(unixChild), " ")
	if !ok {
		t.Skip("only for child processes")
	}
	answer := func(v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("\nanswer %s\n", text)
	}
	switch action {
	case "watch":
		watch(path, answer)
	case "make":
		unix.Umask(0) // what bind makes is as open as can be
		for i := range 1000 {
			query := []string{"", "?group=65533", "?user=65533&group=65533", "?user=65533"}[i%4]
			ln, err := listenUnix(path + query + []string{"", "|0600"}[i/4%2])
			if err != nil {
				t.Fatal(err)
			}
			if err := ln.Close(); err != nil {
				t.Fatal(err)
			}
		}
		answer("done")
	case "listen":
		ln, err := listenUnix(path)
		if err != nil {
			answer(err.Error())
			return
		}
		answer(ln.Addr().String())
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
		_ = ln.Close()
	}
}

// watch connects again and again, and answers with what it saw for each line
// of its input.
func watch(path string, answer func(any)) {
	asked := make(chan bool)
	go func() {
		defer close(asked)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			asked <- true
		}
	}()
	var saw attempts
	answer(saw)
	for {
		select {
		case _, more := <-asked:
			if !more {
				return
			}
			answer(saw)
			saw = attempts{}
		default:
		}
		switch err := connectUnix(path); {
		case err == nil, errors.Is(err, unix.EAGAIN):
			saw.In++
		case errors.Is(err, unix.ECONNREFUSED):
			saw.Refused++
		case errors.Is(err, unix.EACCES):
			saw.Denied++
		case errors.Is(err, unix.ENOENT):
			saw.Missing++
		default:
			saw.Other++
		}
	}
}

// connectUnix connects once, and does not wait.
func connectUnix(path string) error {
	fd, err := newFD(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}

// listenUnix opens an address as Caddy does.
func listenUnix(host string) (*Listener, error) {
	return listenUnixFor(context.Background(), host, nil)
}

func listenUnixFor(ctx context.Context, host string, config <-chan struct{}) (*Listener, error) {
	req, err := newRequest(ctx, UnixSock, host, "0", 0)
	if err != nil {
		return nil, err
	}
	req.config, req.log = config, zap.NewNop()
	return req.listen(ctx)
}

// unixProcess is a child process that answers.
type unixProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// startUnixChild runs the test binary until the end of the test.
func startUnixChild(t *testing.T, uid uint32, dir, action string) *unixProcess {
	t.Helper()
	p := &unixProcess{t: t, cmd: exec.Command("/proc/self/exe", "-test.run=^TestUnixChild$")}
	p.cmd.Env = append(os.Environ(), unixChild+"="+action)
	p.cmd.Dir = dir
	if dir != "" {
		p.cmd.Env = append(p.cmd.Env, "PWD="+dir)
	}
	p.cmd.Stderr = os.Stderr
	if uid != 0 {
		testcaddy.NeedRoot(t)
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

func (p *unixProcess) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// answer waits for the next answer.
func (p *unixProcess) answer(v any) {
	p.t.Helper()
	var output strings.Builder
	for p.out.Scan() {
		if text, ok := strings.CutPrefix(p.out.Text(), "answer "); ok {
			if err := json.Unmarshal([]byte(text), v); err != nil {
				p.t.Fatal(err)
			}
			return
		}
		output.WriteString(p.out.Text() + "\n")
	}
	p.t.Fatalf("no answer of the child process: %s", output.String())
}

// saw asks a watcher.
func (p *unixProcess) saw() (a attempts) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, "?\n"); err != nil {
		p.t.Fatal(err)
	}
	p.answer(&a)
	return a
}

// openDir is a short temporary folder that other users may search.
func openDir(t *testing.T) string {
	t.Helper()
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestUnixSocketIsAtNoMomentMoreOpenThanAsked(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	path := filepath.Join(openDir(t), "a.sock")
	watcher := startUnixChild(t, nobody, "", "watch "+path)
	watcher.answer(new(attempts))
	maker := startUnixChild(t, 0, "", "make "+path)
	var done string
	maker.answer(&done)
	saw := watcher.saw()
	t.Logf("1,000 creations: %+v", saw)
	if saw.In != 0 || saw.Other != 0 {
		t.Errorf("somebody whom the mode keeps out got in: %+v", saw)
	}
	// a refusal is of a socket that does not listen yet, but whose mode let the
	// watcher through: had it been a moment slower, it would have got in
	if saw.Refused != 0 || saw.Denied < 100 {
		t.Errorf("the watcher was let through, or hardly saw the socket: %+v", saw)
	}
	// the watcher gets in where it may
	ln, err := listenUnix(path + "|0666")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if _, err := ln.Accept(); err != nil {
		t.Fatal(err)
	}
	if saw := watcher.saw(); saw.In == 0 {
		t.Errorf("with mode 0666 nobody got in: %+v", saw)
	}
}
