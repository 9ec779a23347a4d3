package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// sockCrowd are clients of a site with maxconn. WebSockets hold places, as
// reloads do not end them.
type sockCrowd struct {
	t       *testing.T
	s       *testcaddy.Server
	network *sockNet
	dial    [][2]string // networks and addresses, in turn
	n       int
	holders []*websocket.Conn
	waiting sync.WaitGroup
	served  atomic.Int64 // of those that ask
	lost    atomic.Int64
}

// sockMaxconn is a site with an app that has WebSockets.
func sockMaxconn(bind, option string) testcaddy.Config {
	if option != "" {
		bind += "?" + option
	}
	address := "http://:8080"
	if strings.HasPrefix(bind, "unixsock") {
		address = "http://"
	}
	return testcaddy.Config{Sites: address + " {\n\tbind " + bind + "\n" + lifeDirective("v") + "}\n"}
}

func (c *sockCrowd) next() (network, address string) {
	next := c.dial[c.n%len(c.dial)]
	c.n++
	return next[0], next[1]
}

// hold takes places.
func (c *sockCrowd) hold(n int) {
	c.t.Helper()
	for range n {
		network, address := c.next()
		conn, err := net.Dial(network, address)
		if err != nil {
			c.t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		c.t.Cleanup(func() { _ = conn.Close() })
		dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return conn, nil }}
		ws, _, err := dialer.Dial("ws://localhost/ws", nil)
		if err != nil {
			c.t.Fatalf("place %d: %v", len(c.holders)+1, err)
		}
		c.holders = append(c.holders, ws)
	}
}

// free gives up places.
func (c *sockCrowd) free(n int) {
	for _, ws := range c.holders[:n] {
		_ = ws.Close()
	}
	c.holders = c.holders[n:]
}

// ask has clients connect and wait for an answer. One that a server accepted
// and closed, because a reload shut it down, tries again.
func (c *sockCrowd) ask(n int) {
	c.t.Helper()
	for range n {
		network, address := c.next()
		c.waiting.Go(func() {
			if err := c.network.enter(); err != nil {
				c.lost.Add(1)
				return
			}
			for range 10 {
				body, err := sockGet(network, address, "/value")
				if err == nil && body == "v" {
					c.served.Add(1)
					return
				}
				if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
					break
				}
			}
			c.lost.Add(1)
		})
	}
}

// all waits until as many of those that ask have been served.
func (c *sockCrowd) all(n int64) {
	c.t.Helper()
	testcaddy.Eventually(c.t, fmt.Sprintf("%d clients served", n), func() bool { return c.served.Load()+c.lost.Load() >= n })
	if c.served.Load() != n || c.lost.Load() > 0 {
		c.t.Fatalf("%d clients were served and %d lost, want %d", c.served.Load(), c.lost.Load(), n)
	}
}

// none fails the test if somebody is served who should wait.
func (c *sockCrowd) none(served int64) {
	c.t.Helper()
	for range 20 {
		time.Sleep(10 * time.Millisecond) // nothing announces what does not happen
		if n := c.served.Load(); n != served {
			c.t.Fatalf("%d clients were served beyond maxconn", n-served)
		}
	}
}

func (c *sockCrowd) logged(reached, free int) {
	c.t.Helper()
	count := func() (int, int) {
		return sockLogged(c.s, "maxconn reached"), sockLogged(c.s, "accepting freely again")
	}
	testcaddy.Eventually(c.t, "the log of the limit", func() bool {
		r, f := count()
		return r >= reached && f >= free
	})
	if r, f := count(); r != reached || f != free {
		c.t.Errorf("the log says %d times that maxconn is reached, want %d, and %d times that it is not any more, want %d", r, reached, f, free)
	}
}

func TestMaxconnPausesAtTheLimitAndGoesOnBelow(t *testing.T) {
	t.Parallel()
	for _, bind := range []string{"ipv4/127.0.0.1", "dual/localhost", "unixsock/$DIR/app.sock"} {
		t.Run(bind, func(t *testing.T) {
			t.Parallel()
			network := sockNetwork(t)
			const most = 20
			config := func(most int) testcaddy.Config { return sockMaxconn(bind, fmt.Sprintf("maxconn=%d", most)) }
			s := testcaddy.Start(t, config(most))
			c := &sockCrowd{t: t, s: s, network: network, dial: [][2]string{{"tcp", sockAt(8080)}}}
			switch {
			case strings.HasPrefix(bind, "dual"):
				c.dial = append(c.dial, [2]string{"tcp", "[::1]:8080"})
			case strings.HasPrefix(bind, "unix"):
				c.dial = [][2]string{{"unix", filepath.Join(s.Dir, "app.sock")}}
			}
			c.hold(most)
			c.ask(4)
			c.none(0)
			c.logged(1, 0)

			c.free(1) // one after the other takes the place
			c.all(4)
			c.hold(1)
			c.ask(1)
			c.none(4)
			c.logged(1, 0)
			c.free(6) // well below the limit
			c.all(5)
			c.logged(1, 1)

			c.hold(6)
			c.ask(2)
			c.none(5)
			c.logged(2, 1)
			if err := s.Reload(config(most)); err != nil { // the places of before still count
				t.Fatal(err)
			}
			c.none(5)
			if err := s.Reload(config(most + 1)); err != nil { // raised
				t.Fatal(err)
			}
			c.all(7)
			if err := s.Reload(config(10)); err != nil { // lowered
				t.Fatal(err)
			}
			c.ask(2)
			c.none(7)
			c.free(10)
			c.none(7)
			c.free(1)
			c.all(9)
			c.hold(1)
			c.ask(3)
			c.none(9)
			if err := s.Reload(sockMaxconn(bind, "")); err != nil { // removed
				t.Fatal(err)
			}
			c.all(12)
			c.hold(2 * most)
			c.waiting.Wait()
		})
	}
}

// A server that lives at its limit writes no line per connection.
func TestMaxconnDoesNotFloodTheLog(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1, 4, 30} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			network := sockNetwork(t)
			s := testcaddy.Start(t, sockMaxconn("ipv4/127.0.0.1", fmt.Sprintf("maxconn=%d", most)))
			c := &sockCrowd{t: t, s: s, network: network, dial: [][2]string{{"tcp", sockAt(8080)}}}
			c.hold(most - 1)
			load := sockStartLoad(t, network, "/value", "tcp", sockAt(8080)) // 4 clients for the last place
			load.more(t, 300)
			load.lossless(t)
			reached, free := sockLogged(s, "maxconn reached"), sockLogged(s, "accepting freely again")
			t.Logf("%d lines of the limit, %d of its end", reached, free)
			if reached < 1 || reached > 10 || free > reached {
				t.Errorf("the log says %d times that maxconn is reached, and %d times that it is not any more", reached, free)
			}
		})
	}
}
