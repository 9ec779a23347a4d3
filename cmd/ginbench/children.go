package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// family has the child processes. They end when ctx does.
type family struct {
	ctx      context.Context
	dir      string // for whatever they need
	children []*child
}

type child struct {
	name   string
	output logBuffer
	exited chan struct{} // closed when the process has ended
	err    error         // how it ended; for reading when exited is closed
}

// start starts a child.
func (f *family) start(name, path string, args ...string) error {
	c := &child{name: name, exited: make(chan struct{})}
	cmd := exec.CommandContext(f.ctx, path, args...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "GIN_MODE=release", "HOME="+f.dir,
		"XDG_DATA_HOME="+filepath.Join(f.dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(f.dir, "config"))
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
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	f.children = append(f.children, c)
	go func() {
		if c.err = cmd.Wait(); c.err == nil {
			c.err = errors.New("ended by itself")
		}
		stdin.Close()
		close(c.exited)
	}()
	return nil
}

// wait waits for all children to end.
func (f *family) wait() {
	for _, c := range f.children {
		<-c.exited
	}
}

// failed returns an error if a child has ended before its time.
func (f *family) failed() error {
	for _, c := range f.children {
		select {
		case <-c.exited:
			if f.ctx.Err() != nil {
				return f.ctx.Err()
			}
			return fmt.Errorf("%s: %w\n%s", c.name, c.err, c.output.String())
		default:
		}
	}
	return nil
}

// ready waits until a system gives the right answer.
func (f *family) ready(s *system) error {
	ctx, cancel := context.WithTimeout(f.ctx, time.Minute)
	defer cancel()
	for {
		if err := f.failed(); err != nil {
			return err
		}
		err := probe(ctx, s)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", s.name, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

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
