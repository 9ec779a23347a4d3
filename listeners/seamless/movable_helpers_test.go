//go:build unix

package seamless

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// movePatience is how long something may take that must happen.
const movePatience = time.Minute

// moveServer is an epoch with a handler of its own.
type moveServer struct{ *epoch }

// moveNew starts a server that says its name, and echoes bodies.
func moveNew(t testing.TB, name string, change ...func(*http.Server)) moveServer {
	t.Helper()
	caddy := new(http.Server)
	for _, c := range change {
		c(caddy)
	}
	f := &front{key: name, errorLog: log.New(io.Discard, "", 0)}
	e := newEpoch(f, settingsOf(caddy, address{http1: true, http2: true}, ""), caddy)
	e.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Server", name)
		_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	})
	t.Cleanup(func() { _ = e.server.Close() })
	return moveServer{e}
}

// listen has the server serve what a listener accepts.
func (s moveServer) listen(t testing.TB, network string) net.Addr {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		dir, err := os.MkdirTemp("", "m") // t.TempDir is too long for a socket
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		at = filepath.Join(dir, "s")
	}
	ln, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			s.inbox.put(makeMovable(conn))
		}
	}()
	return ln.Addr()
}

// take is a departure's move to the server.
func (s moveServer) take(_ string, conn syscall.Conn) error {
	file, err := conn.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return err
	}
	defer file.Close()
	own, err := net.FileConn(file)
	if err != nil {
		return err
	}
	own = makeMovable(own)
	movableOf(own).adopted = true
	if !s.inbox.put(own) {
		return own.Close()
	}
	return nil
}

// leaveFor gives the server's connections away, whatever they are doing.
func (s moveServer) leaveFor(move func(string, syscall.Conn) error) {
	s.leave(&departure{move: move, plain: func(string) bool { return true }, slots: make(chan struct{}, slots)})
}

// in returns how many of the server's connections are in a state.
func (s moveServer) in(state uint32) int {
	s.movables.mu.Lock()
	defer s.movables.mu.Unlock()
	n := 0
	for m := range s.movables.open {
		if m.state.Load() == state {
			n++
		}
	}
	return n
}

// awaits waits until a number of the server's connections can be moved.
func (s moveServer) awaits(t testing.TB, n int) {
	t.Helper()
	moveUntil(t, "connections wait for a request", func() bool { return s.in(reading) == n })
}

// begins waits until the server's only connection is in a request.
func (s moveServer) begins(t testing.TB) {
	t.Helper()
	moveUntil(t, "the server reads", func() bool { return s.in(busy) == 1 })
}

// moveClient is a client with one connection, which it never replaces.
type moveClient struct {
	net.Conn
	r *bufio.Reader
}

func moveDial(t testing.TB, at net.Addr) *moveClient {
	t.Helper()
	conn, err := net.Dial(at.Network(), at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(movePatience))
	return &moveClient{conn, bufio.NewReader(conn)}
}

// send sends a part of a request.
func (c *moveClient) send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads an answer: which server it came from, and its body.
func (c *moveClient) answer() (server, body string, err error) {
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || resp.Close) {
		err = fmt.Errorf("%s, last answer: %v", resp.Status, resp.Close)
	}
	return resp.Header.Get("Server"), string(text), err
}

// want fails the test unless the next answer is as it must be.
func (c *moveClient) want(t testing.TB, server, body string) {
	t.Helper()
	if s, b, err := c.answer(); err != nil || s != server || b != body {
		t.Fatalf("%s answered %q, %v; want %s to answer %q", s, b, err, server, body)
	}
}

// wantEnd fails the test unless the connection is closed without a good answer.
func (c *moveClient) wantEnd(t testing.TB) {
	t.Helper()
	if text, err := io.ReadAll(c.r); errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(text), "200 OK") {
		t.Fatalf("the connection was not closed: read %q, %v", text, err)
	}
}

const (
	moveGet  = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
	movePost = "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"
)

// until waits for a condition.
func moveUntil(t testing.TB, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(movePatience); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %s", what, movePatience)
		}
	}
}

// moveCount counts goroutines and descriptors.
func moveCount(t testing.TB) (goroutines, files int) {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip(err)
	}
	return runtime.NumGoroutine(), len(entries)
}
