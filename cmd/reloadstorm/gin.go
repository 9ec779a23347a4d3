package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/internal/children"
	"github.com/caddy-gin/caddy-gin/internal/storm"
	"github.com/caddy-gin/caddy-gin/internal/storm/stormapp"
)

// grace is how long plain Gin waits for requests before it ends.
const grace = 5 * time.Second

// listening is what the child prints when it accepts connections.
const listening = "listening"

// serveGin is the child that serves plain Gin until its standard input ends, or
// gracefully until SIGTERM. Its arguments are a greeting, and addresses for
// HTTP, for HTTPS, and of a Unix socket, and the files of a certificate; or the
// first two only.
func serveGin(args []string) error {
	if len(args) != 2 && len(args) != 6 {
		return fmt.Errorf("%s takes 2 or 6 arguments, not %d", ginCommand, len(args))
	}
	terminated, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	stormapp.Routes(engine, args[0])
	server := &http.Server{Handler: engine} //nolint:gosec // as gin.Engine.Run has it; only this machine reaches it
	ended := make(chan error, 4)
	config := net.ListenConfig{Control: reusePort}
	plain, err := config.Listen(terminated, "tcp", args[1])
	if err != nil {
		return err
	}
	go func() { ended <- server.Serve(plain) }()
	if len(args) == 6 {
		secure, err := config.Listen(terminated, "tcp", args[2])
		if err != nil {
			return err
		}
		if err := os.Remove(args[3]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		local, err := net.ListenUnix("unix", &net.UnixAddr{Name: args[3], Net: "unix"})
		if err != nil {
			return err
		}
		local.SetUnlinkOnClose(false) // the file may be the successor's
		go func() { ended <- server.ServeTLS(secure, args[4], args[5]) }()
		go func() { ended <- server.Serve(local) }()
	}
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	fmt.Println(listening)
	select {
	case err := <-ended:
		return err
	case <-terminated.Done():
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		return server.Shutdown(ctx)
	}
}

// ginServer is a line of processes of plain Gin, one after the other.
type ginServer struct {
	site  *site
	child *children.Child
	ready time.Time // when the last process was
}

func startGin(s *site) (reloader, error) {
	g := &ginServer{site: s}
	return g, g.reload(s.Ctx, 0)
}

func (g *ginServer) reload(_ context.Context, number int) error {
	s := g.site
	child, err := s.Start("plain Gin", s.self, ginCommand, storm.Greeting(number), s.http, s.https, s.unix, s.certificate, s.key)
	if err != nil {
		return err
	}
	err = s.Await("plain Gin", func(context.Context) error { return child.Printed(listening) })
	if err != nil {
		return err
	}
	g.ready = time.Now()
	if g.child != nil {
		if err := g.child.End(syscall.SIGTERM); err != nil {
			return err
		}
	}
	g.child = child
	return nil
}

func (g *ginServer) upgrade(ctx context.Context, number int) (p phases, err error) {
	before := time.Now()
	err = g.reload(ctx, number)
	return phases{ready: g.ready.Sub(before), whole: time.Since(before)}, err
}

// startBackend starts plain Gin for a proxy, at the site's other address.
func startBackend(s *site) error {
	child, err := s.Start("backend", s.self, ginCommand, "backend", s.other)
	if err != nil {
		return err
	}
	return s.Await("the backend", func(context.Context) error { return child.Printed(listening) })
}
