package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// lifeExitWithin sends SIGTERM and waits for the end of the process. The
// bound is generous; what is compared with it is "for ever".
func lifeExitWithin(t *testing.T, s *testcaddy.Server, bound time.Duration) {
	t.Helper()
	start := time.Now()
	s.Signal(syscall.SIGTERM)
	select {
	case <-s.Exited():
		t.Logf("exit took %v", time.Since(start).Round(10*time.Millisecond))
	case <-time.After(bound):
		t.Fatalf("the process goes on %v after SIGTERM", bound)
	}
}

// lifeReleasedInOrder checks that a configuration was released completely.
func lifeReleasedInOrder(t *testing.T, s *testcaddy.Server, values ...string) {
	t.Helper()
	book := lifeBook(t, s.Dir)
	for _, value := range values {
		first, last := slices.Index(book, "release "+value+" first"), slices.Index(book, "release "+value+" last")
		if first < 0 || last < first {
			t.Errorf("%s was not released in order:\n%s", value, strings.Join(book, "\n"))
		}
	}
}

// lifeForced tells whether the log says that users were given up.
func lifeForced(s *testcaddy.Server) bool {
	return slices.ContainsFunc(s.Log(), func(e testcaddy.Entry) bool {
		return e.Level == "warn" && strings.Contains(e.Msg, "exiting before the last requests have ended")
	})
}

func TestExitIsBoundedByTheGracePeriod(t *testing.T) {
	t.Parallel()
	config := func(value string) testcaddy.Config {
		c := lifeApp(value, "key k", "tasks 1")
		c.Global += "\tgrace_period 2s\n"
		return c
	}
	s := testcaddy.Start(t, config("1"))
	// these care about nothing: on a configuration that was replaced, and on
	// the running one
	for _, value := range []string{"1", "2"} {
		if value == "2" {
			lifeReload(t, s, config("2"))
		}
		for _, path := range []string{"/ws", "/detached"} {
			conn := lifeDial(t, s, path)
			lifeMustEcho(t, conn, value)
		}
		lifeStartHold(t, s, value)
	}
	lifeAwait(t, s.Dir, "start 2")
	lifeExitWithin(t, s, 30*time.Second)
	lifeReleasedInOrder(t, s, "1", "2")
	if opened, closed := lifeCount(t, s.Dir, "open k"), lifeCount(t, s.Dir, "close k"); opened != 1 || closed != 1 {
		t.Errorf("the shared value was opened %d times and closed %d times", opened, closed)
	}
	if !lifeForced(s) {
		t.Error("the log does not say that connections were given up")
	}
}

func TestExitIsBoundedWithoutAGracePeriod(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("1"))
	conn := lifeDial(t, s, "/detached")
	lifeMustEcho(t, conn, "1")
	lifeExitWithin(t, s, 45*time.Second)
	lifeReleasedInOrder(t, s, "1")
	if !lifeForced(s) {
		t.Error("the log does not say that connections were given up")
	}
}

func TestExitIsBoundedWithAGoroutineThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	config := lifeApp("1", "tasks 1", "linger 10m")
	config.Global += "\tgrace_period 2s\n"
	s := testcaddy.Start(t, config)
	lifeAwait(t, s.Dir, "start 1")
	lifeExitWithin(t, s, 30*time.Second)
	lifeReleasedInOrder(t, s, "1")
	if n := lifeCount(t, s.Dir, "stop 1"); n != 0 {
		t.Error("the goroutine returned, so this test shows nothing")
	}
}

func TestExitWaitsForARequest(t *testing.T) {
	t.Parallel()
	config := lifeApp("1", "key k")
	config.Global += "\tgrace_period 1m\n"
	s := testcaddy.Start(t, config)
	hold := lifeStartHold(t, s, "1")
	// Caddy accepts no more connections by the time the request is to end.
	ender := lifeDial(t, s, "/ws")
	lifeMustEcho(t, ender, "1")
	s.Signal(syscall.SIGTERM)
	if !s.WaitLog(func(e testcaddy.Entry) bool { return strings.Contains(e.Msg, "servers shutting down") }) {
		t.Fatal("Caddy does not shut down")
	}
	lifeMustEcho(t, ender, "1")
	if err := ender.WriteMessage(1, []byte("let "+hold.id)); err != nil {
		t.Fatal(err)
	}
	if last := hold.line(); last != "1" {
		t.Errorf("the request ended with %q", last)
	}
	_ = ender.Close()
	select {
	case <-s.Exited():
	case <-time.After(45 * time.Second):
		t.Fatal("the process goes on after the last request")
	}
	lifeReleasedInOrder(t, s, "1")
	if lifeForced(s) {
		t.Error("a request that ended in time was given up")
	}
}

func TestExitClosesWebSocketsThatHonourDraining(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\n\tgin hello\n}\n", Global: "\tgrace_period 1m\n"})
	paths := []string{"/ws", "/ws/gorilla", "/ws/detached"}
	conns := lifeDialMany(t, s, paths[0], 1)
	conns = append(conns, lifeDialMany(t, s, paths[1], 1)...)
	conns = append(conns, lifeDialMany(t, s, paths[2], 1)...)
	lifeEchoMany(t, conns, "", 1)
	s.Signal(syscall.SIGTERM)
	for i, conn := range conns {
		lifeWantGoingAway(t, paths[i], conn)
	}
	select {
	case <-s.Exited():
	case <-time.After(30 * time.Second): // half of the grace period
		t.Error("the process goes on after the last WebSocket")
	}
	if lifeForced(s) {
		t.Error("WebSockets that were closed in time were given up")
	}
}
