package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestRequestAndWebSocketsThatSpanAReloadKeepTheirResources(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("1", "key k1"))
	hold := lifeStartHold(t, s, "1")
	attached, detached := lifeDial(t, s, "/ws"), lifeDial(t, s, "/detached")
	lifeMustEcho(t, attached, "1")
	lifeMustEcho(t, detached, "1")

	lifeOutlast(t, s, "2", "key k2")
	lifeMustEcho(t, attached, "1")
	lifeMustEcho(t, detached, "1")
	if last := hold.let(); last != "1" {
		t.Errorf("the request ended with %q", last)
	}

	lifeOutlast(t, s, "3", "key k2")
	lifeMustEcho(t, attached, "1")
	_ = attached.Close()

	lifeOutlast(t, s, "4", "key k2")
	lifeMustEcho(t, detached, "1")
	if n := lifeCount(t, s.Dir, "release 1 first"); n != 0 {
		t.Error("released under a WebSocket whose handler has returned")
	}
	_ = detached.Close()
	lifeAwait(t, s.Dir, "release 1 last")
	lifeAwait(t, s.Dir, "close k1")
}

// A request belongs to its configuration from the moment when Caddy begins to
// serve it, not only from the moment when it reaches the app.
func TestRequestThatReachesTheAppLongAfterAReloadIsServed(t *testing.T) {
	t.Parallel()
	arrived, answer := make(chan struct{}), make(chan struct{})
	gate, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	guard := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-answer
	})}
	go func() { _ = guard.Serve(gate) }()
	t.Cleanup(func() { _ = guard.Close() })

	config := testcaddy.Config{Sites: fmt.Sprintf(
		"http://localhost:$HTTP {\nhandle /guarded/* {\nforward_auth http://%s {\nuri /\n}\nuri strip_prefix /guarded\n%s}\nhandle {\n%s}\n}",
		gate.Addr(), lifeDirective("1", "key k1"), lifeDirective("1"))}.Strict()
	s := testcaddy.Start(t, config)
	type result struct {
		status int
		body   string
		err    error
	}
	got := make(chan result, 1)
	go func() {
		status, body, err := lifeTry(testcaddy.Client(t, "http"), s.HTTP("/guarded/value"))
		got <- result{status, body, err}
	}()
	<-arrived
	lifeOutlast(t, s, "2")
	close(answer)
	if r := <-got; r != (result{http.StatusOK, "1", nil}) {
		t.Errorf("got %d %q, %v; want 200 and \"1\"", r.status, r.body, r.err)
	}
	lifeAwait(t, s.Dir, "release 1 last")
}

func TestDrainingClosesAtTheReload(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("1"))
	resp, err := testcaddy.Client(t, "http").Get(s.HTTP("/draining"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() || lines.Text() != "1" {
		t.Fatalf("got %q, %v", lines.Text(), lines.Err())
	}
	lifeRefused(t, s, lifeApp("bad", "fail error"), "the build fails")
	lifeReload(t, s, lifeApp("2"))
	if !lines.Scan() || lines.Text() != "draining" {
		t.Errorf("got %q, %v after the reload", lines.Text(), lines.Err())
	}
	// the stream was the last user
	lifeAwait(t, s.Dir, "release 1 last")
}

func TestWebSocketsOfHelloCloseWithGoingAwayAtTheReload(t *testing.T) {
	t.Parallel()
	config := testcaddy.Config{Sites: "http://localhost:$HTTP {\n\tgin hello\n}\n"}.Strict()
	s := testcaddy.Start(t, config)
	paths := []string{"/ws", "/ws/gorilla", "/ws/detached"}
	var conns []*websocket.Conn
	for _, path := range paths {
		conn := lifeDial(t, s, path)
		if got, err := lifeEcho(conn, "hi"); err != nil || got != "hi" {
			t.Fatalf("%s: got %q, %v", path, got, err)
		}
		conns = append(conns, conn)
	}
	lifeReload(t, s, config)
	for i, conn := range conns {
		lifeWantGoingAway(t, paths[i], conn)
	}
}

func lifeWantGoingAway(t *testing.T, what string, conn *websocket.Conn) {
	t.Helper()
	_, _, err := conn.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != websocket.CloseGoingAway {
		t.Errorf("%s: got %v, want the close code 1001", what, err)
	}
}
