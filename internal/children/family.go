package children

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Family has the child processes of a command. They end when Ctx does. Its
// methods are not safe for concurrent use.
type Family struct {
	Ctx      context.Context
	Dir      string // for whatever they need
	children []*Child
}

// Child is a child process.
type Child struct {
	name   string
	cmd    *exec.Cmd
	output logBuffer
	ending bool
	exited chan struct{} // closed when the process has ended
	err    error         // how it ended; for reading when exited is closed
}

// Start starts a child.
func (f *Family) Start(name, path string, args ...string) (*Child, error) {
	cmd := exec.CommandContext(f.Ctx, path, args...)
	c := &Child{name: name, cmd: cmd, exited: make(chan struct{})}
	cmd.Dir = f.Dir
	cmd.Env = append(os.Environ(), "GIN_MODE=release", "HOME="+f.Dir,
		"XDG_DATA_HOME="+filepath.Join(f.Dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(f.Dir, "config"))
	cmd.Stdout, cmd.Stderr = &c.output, &c.output
	cmd.Cancel = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return cmd.Process.Kill() // where there are no signals
		}
		return nil
	}
	cmd.WaitDelay = 10 * time.Second // then it is killed
	stdin, err := cmd.StdinPipe()    // a child that reads it learns of a violent death of ours
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	f.children = append(f.children, c)
	go func() {
		if c.err = cmd.Wait(); c.err == nil {
			c.err = errors.New("ended by itself")
		}
		stdin.Close()
		close(c.exited)
	}()
	return c, nil
}

// Wait waits for all children to end.
func (f *Family) Wait() {
	for _, c := range f.children {
		<-c.exited
	}
}

// Failed returns an error if a child has ended before its time.
func (f *Family) Failed() error {
	for _, c := range f.children {
		select {
		case <-c.exited:
			if f.Ctx.Err() != nil {
				return f.Ctx.Err()
			}
			if !c.ending {
				return fmt.Errorf("%s: %w\n%s", c.name, c.err, c.output.String())
			}
		default:
		}
	}
	return nil
}

// Await waits for a condition, for a minute at most. It fails at once if a child
// ends before its time.
func (f *Family) Await(what string, cond func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(f.Ctx, time.Minute)
	defer cancel()
	for {
		if err := f.Failed(); err != nil {
			return err
		}
		err := cond(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// PID returns the number of the process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Signal sends a signal.
func (c *Child) Signal(sig os.Signal) error { return c.cmd.Process.Signal(sig) }

// End sends a signal by which the child is to end.
func (c *Child) End(sig os.Signal) error {
	c.ending = true
	return c.Signal(sig)
}

// Printed returns nil if the child has printed a text.
func (c *Child) Printed(text string) error {
	if output := c.output.String(); !strings.Contains(output, text) {
		return fmt.Errorf("%s did not print %q\n%s", c.name, text, output)
	}
	return nil
}

// Output returns what the child has printed.
func (c *Child) Output() string { return c.output.String() }

// logBuffer collects what a child prints.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() > 1<<20 {
		return len(p), nil // enough to know what is wrong
	}
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
