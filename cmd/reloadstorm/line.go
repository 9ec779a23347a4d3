package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/children"
)

// line is a line of processes, each started by the one before. They write to one
// file, as a pipe would end with the first of them.
type line struct {
	site  *site
	log   string        // the path of the file
	pid   int           // of the process that serves
	ended chan struct{} // closed when that one has been reaped
}

func (s *site) lineLog() string { return filepath.Join(s.Dir, "line.log") }

// races returns an error if the race detector is in a line of processes and has
// found something.
func (s *site) races() error {
	printed, err := os.ReadFile(s.lineLog())
	if errors.Is(err, os.ErrNotExist) {
		return nil // there is no line
	}
	if races := children.Races(string(printed)); races != "" {
		err = fmt.Errorf("the server has a data race:\n%.8000s", races)
	}
	return err
}

// startLine starts the first process.
func (s *site) startLine(args ...string) (*line, error) {
	adoptOrphans()
	ended := make(chan struct{})
	l := &line{site: s, log: s.lineLog(), ended: ended}
	log, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(s.self, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, log, log
	cmd.Env = append(os.Environ(), "GIN_MODE=release", "HOME="+s.Dir,
		"XDG_DATA_HOME="+filepath.Join(s.Dir, "data"), "XDG_CONFIG_HOME="+filepath.Join(s.Dir, "config"))
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	l.pid = cmd.Process.Pid
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	return l, nil
}

// follow takes notice of the successor.
func (l *line) follow(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	before, ended := l.ended, make(chan struct{})
	l.pid, l.ended = pid, ended
	go func() {
		<-before              // then it is a child of ours
		_, _ = process.Wait() // or somebody else's
		close(ended)
	}()
	return nil
}

// signal sends a signal to the process that serves.
func (l *line) signal(sig os.Signal) error {
	process, err := os.FindProcess(l.pid)
	if err == nil {
		err = process.Signal(sig)
	}
	return l.failure(err)
}

// failure adds what the processes have printed to an error.
func (l *line) failure(err error) error {
	if err == nil {
		return nil
	}
	printed, _ := os.ReadFile(l.log)
	return fmt.Errorf("%w\n%s", err, printed[max(0, len(printed)-4096):])
}

// await waits for a condition as long as the line goes on.
func (l *line) await(what string, cond func(context.Context) error) error {
	return l.failure(l.site.Await(what, cond))
}

// endProcesses ends what is left of the processes in the site's folder.
func (s *site) endProcesses() error {
	const patience = 10 * time.Second
	begun := time.Now()
	for sig := syscall.SIGTERM; ; {
		pids, err := s.processes()
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Since(begun) > patience {
			if sig == syscall.SIGKILL {
				return fmt.Errorf("processes %v do not end", pids)
			}
			sig, begun = syscall.SIGKILL, time.Now()
		}
		for _, pid := range pids {
			process, err := os.FindProcess(pid)
			if err != nil {
				return err
			}
			if err := process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
}
