package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/internal/storm"
	"github.com/caddy-gin/caddy-gin/internal/storm/stormapp"
)

// inherits is set in the environment of a process that has its listeners, and a
// pipe for the news that it is ready, from its predecessor.
const inherits = "RELOADSTORM_INHERITS"

// serveFork is the child that serves plain Gin until SIGTERM, or until SIGHUP, on
// which it starts its successor with its own listeners, waits until that is ready,
// and ends gracefully. Its arguments are a file with the greeting, addresses for
// HTTP, for HTTPS, and of a Unix socket, and the files of a certificate.
func serveFork(args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("%s takes 6 arguments, not %d", forkCommand, len(args))
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	greeting, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	open := openListeners
	if os.Getenv(inherits) != "" {
		open = inheritListeners
	}
	listeners, err := open(args[1], args[2], args[3])
	if err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	stormapp.Routes(engine, string(greeting))
	server := &http.Server{Handler: engine} //nolint:gosec // as gin.Engine.Run has it; only this machine reaches it
	ended := make(chan error, len(listeners))
	go func() { ended <- server.Serve(listeners[0]) }()
	go func() { ended <- server.ServeTLS(listeners[1], args[4], args[5]) }()
	go func() { ended <- server.Serve(listeners[2]) }()
	fmt.Println(listening, os.Getpid())
	if os.Getenv(inherits) != "" {
		ready := os.NewFile(uintptr(3+len(listeners)), "ready")
		if _, err := ready.WriteString(listening); err != nil {
			return err
		}
		ready.Close()
	}
	for {
		select {
		case err := <-ended:
			return err
		case got := <-signals:
			if got == syscall.SIGHUP {
				if err := startSuccessor(listeners); err != nil {
					fmt.Fprintln(os.Stderr, "reloadstorm:", err)
					continue
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), grace)
			defer cancel()
			return server.Shutdown(ctx)
		}
	}
}

// openListeners opens two TCP sockets and a Unix socket.
func openListeners(addresses ...string) (opened []net.Listener, err error) {
	for i, network := range []string{"tcp", "tcp", "unix"} {
		ln, err := net.Listen(network, addresses[i])
		if err != nil {
			return nil, err
		}
		if local, ok := ln.(*net.UnixListener); ok {
			local.SetUnlinkOnClose(false) // it is the successor's too
		}
		opened = append(opened, ln)
	}
	return opened, nil
}

// inheritListeners takes over the listeners of the predecessor.
func inheritListeners(addresses ...string) (inherited []net.Listener, err error) {
	for i := range addresses {
		file := os.NewFile(uintptr(3+i), "listener")
		ln, err := net.FileListener(file)
		if err != nil {
			return nil, err
		}
		file.Close()
		inherited = append(inherited, ln)
	}
	return inherited, nil
}

// startSuccessor starts the program that is on disk now, with the same arguments,
// and returns when it is ready.
func startSuccessor(listeners []net.Listener) error {
	cmd := exec.Command(os.Args[0], os.Args[1:]...) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), inherits+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for _, ln := range listeners {
		file, err := ln.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return err
		}
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	ready, told, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd.ExtraFiles = append(cmd.ExtraFiles, told)
	err = cmd.Start()
	told.Close()
	if err != nil {
		return err
	}
	if n, err := ready.Read(make([]byte, len(listening))); err != nil || n == 0 {
		return errors.Join(errors.New("the successor failed"), err, cmd.Wait())
	}
	return nil
}

// forkServer is a line of processes of plain Gin that share their listeners.
type forkServer struct {
	site     *site
	line     *line
	greeting string // the path of a file
}

func startFork(s *site) (reloader, error) {
	f := &forkServer{site: s, greeting: filepath.Join(s.Dir, "greeting")}
	if err := f.greet(0); err != nil {
		return nil, err
	}
	var err error
	if f.line, err = s.startLine(forkCommand, f.greeting, s.http, s.https, s.unix, s.certificate, s.key); err != nil {
		return nil, err
	}
	return f, f.line.await("plain Gin", func(context.Context) error { return f.successor(0) })
}

func (f *forkServer) greet(number int) error {
	return os.WriteFile(f.greeting, []byte(storm.Greeting(number)), 0o600)
}

// successor returns nil if another process than the one before has said that it
// listens, and follows that.
func (f *forkServer) successor(before int) error {
	printed, err := os.ReadFile(f.line.log)
	if err != nil {
		return err
	}
	var pid int
	for text := range strings.Lines(string(printed)) {
		if _, err := fmt.Sscanf(text, listening+" %d\n", &pid); err != nil {
			continue // something else
		}
	}
	switch pid {
	case before:
		return errors.New("no successor listens")
	case f.line.pid: // the first one
		return nil
	}
	return f.line.follow(pid)
}

func (f *forkServer) reload(_ context.Context, number int) error {
	if err := f.greet(number); err != nil {
		return err
	}
	before := f.line.pid
	if err := f.line.signal(syscall.SIGHUP); err != nil {
		return err
	}
	return f.line.await("a successor", func(context.Context) error { return f.successor(before) })
}

func (f *forkServer) upgrade(ctx context.Context, number int) (p phases, err error) {
	before := time.Now()
	err = f.reload(ctx, number)
	return phases{ready: time.Since(before), whole: time.Since(before)}, err
}
