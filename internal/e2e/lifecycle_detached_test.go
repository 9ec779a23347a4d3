package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// lifeDialMany opens n WebSockets, some at a time.
func lifeDialMany(t *testing.T, s *testcaddy.Server, path string, n int) []*websocket.Conn {
	t.Helper()
	conns := make([]*websocket.Conn, n)
	slots := make(chan struct{}, 16)
	var dialling sync.WaitGroup
	for i := range conns {
		slots <- struct{}{}
		dialling.Go(func() {
			defer func() { <-slots }()
			conn, _, err := websocket.DefaultDialer.Dial("ws"+s.HTTP(path)[len("http"):], nil)
			if err != nil {
				t.Errorf("WebSocket %d: %v", i, err)
				return
			}
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Minute))
			conns[i] = conn
		})
	}
	dialling.Wait()
	t.Cleanup(func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return conns
}

// lifeEchoMany has each WebSocket echo messages of its own behind a prefix.
func lifeEchoMany(t *testing.T, conns []*websocket.Conn, prefix string, rounds int) {
	t.Helper()
	var echoing sync.WaitGroup
	for i, conn := range conns {
		echoing.Go(func() {
			for round := range rounds {
				message := fmt.Sprintf("connection %d, round %d", i, round)
				if got, err := lifeEcho(conn, message); err != nil || got != prefix+message {
					t.Errorf("WebSocket %d: got %q, %v; want %q", i, got, err, prefix+message)
					return
				}
			}
		})
	}
	echoing.Wait()
}

// lifeOthers sends other requests until the returned function is called.
// Each must get an answer of its own.
func lifeOthers(t *testing.T, s *testcaddy.Server, path func(i int) (path, want string)) (stop func()) {
	t.Helper()
	done := make(chan struct{})
	var clients sync.WaitGroup
	for worker := range 4 {
		client := testcaddy.Client(t, "http")
		clients.Go(func() {
			for i := worker; ; i += 4 {
				select {
				case <-done:
					return
				default:
				}
				path, want := path(i)
				status, body, err := lifeTry(client, s.HTTP(path))
				if err != nil || status != http.StatusOK || body != want {
					t.Errorf("%s: got %d %q, %v", path, status, body, err)
					return
				}
			}
		})
	}
	return func() {
		close(done)
		clients.Wait()
	}
}

func TestWebSocketsWhoseHandlersHaveReturnedKeepTheirConnections(t *testing.T) {
	t.Parallel()
	n := 1000
	if lifeRace {
		n = 300
	}
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\n\tgin hello\n}\n"})
	stop := lifeOthers(t, s, func(i int) (path, want string) {
		return "/users/" + strconv.Itoa(i), fmt.Sprintf(`{"id":"%d"}`, i)
	})
	conns := lifeDialMany(t, s, "/ws/detached", n)
	lifeEchoMany(t, conns, "", 10)
	stop()
}

func TestWebSocketsWhoseHandlersHaveReturnedLiveOnAfterAReload(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("1", "key k1"))
	stop := lifeOthers(t, s, func(int) (path, want string) { return "/value", "1" })
	conns := lifeDialMany(t, s, "/detached", 200)
	lifeEchoMany(t, conns, "1:", 5)
	stop()

	lifeOutlast(t, s, "2", "key k2")
	stop = lifeOthers(t, s, func(int) (path, want string) { return "/value", "2b" })
	lifeEchoMany(t, conns, "1:", 5)
	stop()
	for _, conn := range conns[1:] {
		_ = conn.Close()
	}
	lifeOutlast(t, s, "3", "key k2")
	lifeMustEcho(t, conns[0], "1")
	_ = conns[0].Close()
	lifeAwait(t, s.Dir, "release 1 last")
	lifeAwait(t, s.Dir, "close k1")
}

func TestForgottenConnectionDoesNotHoldItsConfiguration(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("1"))
	for range 20 {
		if got := lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/forget")); got != "forgotten" {
			t.Fatalf("got %q", got)
		}
	}
	lifeReload(t, s, lifeApp("2"))
	client := testcaddy.Client(t, "http")
	testcaddy.Eventually(t, "the release of the configuration", func() bool {
		lifeGet(t, client, s.HTTP("/gc"))
		return lifeCount(t, s.Dir, "release 1 last") == 1
	})
}
