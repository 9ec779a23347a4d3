package ginbridge

import (
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"
)

// mountIn returns what streams need of a mount.
func mountIn(g *Generation, delay time.Duration) *Mount {
	return &Mount{app: &App{name: "test", gen: g}, gen: g, opts: Options{StreamCloseDelay: delay}}
}

// hijackOne returns what a handler gets that takes a connection over, after
// the request has ended. nil stands for the client.
func hijackOne(t *testing.T, g *Generation) (server *hijackedConn, client net.Conn) {
	t.Helper()
	conn, client := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	if !g.Acquire() {
		t.Fatal("the generation is released")
	}
	server = mountIn(g, 0).trackHijack(conn)
	g.Release()
	return server, client
}

// collected tells whether the garbage collector has found all hijacked
// connections of a generation.
func collected(g *Generation, rounds int) bool {
	for range rounds {
		runtime.GC()
		g.mu.Lock()
		n := len(g.streams)
		g.mu.Unlock()
		if n == 0 {
			return true
		}
		time.Sleep(10 * time.Millisecond) // cleanups have a goroutine of their own
	}
	return false
}

func TestHijackedConnectionHoldsItsGenerationUntilClosed(t *testing.T) {
	app, _ := newTestApp(t)
	conn, _ := hijackOne(t, app.gen)
	app.gen.Start(alive)
	app.gen.Retire(false, 0)
	hasten(app.gen)
	if collected(app.gen, 5) {
		t.Error("a connection in use was collected")
	}
	if isReleased(app.gen) {
		t.Error("released under a hijacked connection")
	}
	_ = conn.Close()
	_ = conn.Close() // counts once
	awaitRelease(t, app.gen)
}

func TestForgottenConnectionIsCountedOutByTheGarbageCollector(t *testing.T) {
	app, _ := newTestApp(t)
	for range 10 {
		_, _ = hijackOne(t, app.gen)
	}
	app.gen.Start(alive)
	app.gen.Retire(false, 0)
	hasten(app.gen)
	if !collected(app.gen, 1000) {
		t.Fatal("the connections are still there")
	}
	awaitRelease(t, app.gen)
}

// The methods that copy leave nothing on the stack that refers to the
// connection but themselves.
func TestConnectionThatIsBeingCopiedIsNotForgotten(t *testing.T) {
	for name, copying := range map[string]func(conn *hijackedConn, started chan<- struct{}, end <-chan struct{}) error{
		"ReadFrom": func(conn *hijackedConn, started chan<- struct{}, end <-chan struct{}) error {
			_, err := io.Copy(conn, &waitingReader{started, end})
			return err
		},
		"WriteTo": func(conn *hijackedConn, started chan<- struct{}, _ <-chan struct{}) error {
			close(started)
			_, err := io.Copy(io.Discard, conn)
			return err
		},
		"Read": func(conn *hijackedConn, started chan<- struct{}, _ <-chan struct{}) error {
			close(started)
			_, err := conn.Read(make([]byte, 1))
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			app, _ := newTestApp(t)
			conn, client := hijackOne(t, app.gen)
			started, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
			go func(conn *hijackedConn) { ended <- copying(conn, started, end) }(conn)
			conn = nil //nolint:ineffassign,wastedassign // the goroutine has the only reference
			<-started
			if collected(app.gen, 20) {
				t.Error("counted out while data is being copied")
			}
			_ = client.Close()
			close(end)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// waitingReader is a source that has nothing to say until it ends.
type waitingReader struct {
	started chan<- struct{}
	end     <-chan struct{}
}

func (r *waitingReader) Read([]byte) (int, error) {
	close(r.started)
	<-r.end
	return 0, io.EOF
}

func TestHijackedConnectionsAreClosedByForceAtExit(t *testing.T) {
	app, _ := newTestApp(t)
	conn, client := hijackOne(t, app.gen)
	app.gen.Start(alive)
	app.gen.Retire(true, 20*time.Millisecond)
	if !isReleased(app.gen) {
		t.Error("it is not released when Retire returns")
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the client reads %v, want the end", err)
	}
	_ = conn.Close() // the handler ends after all
}
