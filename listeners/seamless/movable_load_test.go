//go:build unix

package seamless

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// moveTo gives all connections of a server to another one whenever that is the
// current one.
type moveTo struct {
	servers [2]moveServer
	current atomic.Int32
	moves   atomic.Int64
	fails   func() bool
}

func newMoveTo(t testing.TB) *moveTo {
	m := &moveTo{servers: [2]moveServer{moveNew(t, "a"), moveNew(t, "b")}, fails: func() bool { return false }}
	for i, s := range m.servers {
		s.departure.Store(&departure{
			plain: func(string) bool { return m.current.Load() != int32(i) },
			move: func(key string, conn syscall.Conn) error {
				if m.fails() {
					return errors.New("at random")
				}
				m.moves.Add(1)
				return m.servers[1-i].take(key, conn)
			},
			slots: make(chan struct{}, slots),
		})
	}
	return m
}

// change makes the other server the current one.
func (m *moveTo) change() {
	before := m.current.Load()
	m.current.Store(1 - before)
	m.servers[before].movables.interrupt()
}

// open returns how many connections both servers have.
func (m *moveTo) open() int64 { return m.servers[0].conns.Load() + m.servers[1].conns.Load() }

// TestMovesUnderLoad has clients repeat requests over one connection each, with
// and without pauses, while their connections go to and fro.
func TestMovesUnderLoad(t *testing.T) {
	const clients, changes = 200, 50
	for _, tt := range []struct {
		name, network string
		fails         func() bool
	}{
		{"tcp", "tcp", nil},
		{"unix", "unix", nil},
		{"failing", "tcp", func() bool { return rand.IntN(20) == 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMoveTo(t)
			if tt.fails != nil {
				m.fails = tt.fails
			}
			at := m.servers[0].listen(t, tt.network)
			var done atomic.Bool
			var requests, from [2]atomic.Int64
			var wg sync.WaitGroup
			conns := make([]*moveClient, clients)
			for i := range conns {
				conns[i] = moveDial(t, at)
			}
			for i, c := range conns {
				wg.Go(func() {
					for n := 0; !done.Load() || n == 0; n++ {
						method, text := "GET", ""
						if n%2 == 1 {
							method, text = "POST", fmt.Sprintf("client %d, request %d", i, n)
						}
						_, err := fmt.Fprintf(c, "%s /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", method, n, len(text), text)
						if err != nil {
							t.Errorf("client %d, request %d: %v", i, n, err)
							return
						}
						server, body, err := c.answer()
						if want := fmt.Sprintf("%s /%d %s", method, n, text); err != nil || body != want {
							t.Errorf("client %d: got %q, %v; want %q", i, body, err, want)
							return
						}
						requests[n%2].Add(1)
						from[server[0]-'a'].Add(1)
						if i%4 != 0 {
							time.Sleep(time.Duration(rand.IntN(i+1)) * 100 * time.Microsecond)
						}
					}
				})
			}
			for range changes {
				before := requests[0].Load()
				moveUntil(t, "requests go on", func() bool { return requests[0].Load() > before+clients/4 || t.Failed() })
				m.change()
			}
			done.Store(true)
			wg.Wait()
			if tt.fails == nil {
				now := m.servers[m.current.Load()]
				moveUntil(t, "all are at the current server", func() bool { return now.conns.Load() == clients && now.in(reading) == clients })
			}
			moveUntil(t, "no connection is left behind", func() bool { return m.open() == clients })
			t.Logf("%d GET, %d POST, answered by a: %d, by b: %d, %d moves", requests[0].Load(), requests[1].Load(), from[0].Load(), from[1].Load(), m.moves.Load())
		})
	}
}

// TestMovesOfClientsThatLeave has clients close while their connections move.
func TestMovesOfClientsThatLeave(t *testing.T) { // not parallel: it counts descriptors
	m := newMoveTo(t)
	at := m.servers[0].listen(t, "tcp")
	goroutines, files := moveCount(t)
	for range 20 {
		conns := make([]net.Conn, 50)
		for i := range conns {
			var err error
			if conns[i], err = net.Dial(at.Network(), at.String()); err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				_, _ = io.WriteString(conns[i], moveGet)
			}
		}
		var wg sync.WaitGroup
		for i, conn := range conns {
			wg.Go(func() {
				if i%3 == 0 {
					runtime.Gosched()
				}
				_ = conn.Close()
			})
		}
		m.change()
		wg.Wait()
		m.change()
	}
	moveUntil(t, "no connection is left", func() bool { return m.open() == 0 })
	moveUntil(t, "no goroutine or descriptor is left", func() bool {
		g, f := moveCount(t)
		return g <= goroutines && f <= files
	})
}

// TestManyMove reports how long idle connections take to move.
func TestManyMove(t *testing.T) {
	const n = 2000
	m := newMoveTo(t)
	at := m.servers[0].listen(t, "tcp")
	clients := make([]*moveClient, n)
	for i := range clients {
		clients[i] = moveDial(t, at)
		if i%2 == 0 {
			clients[i].send(t, moveGet)
			clients[i].want(t, "a", "GET /a ")
		}
	}
	m.servers[0].awaits(t, n)
	start := time.Now()
	m.change()
	m.servers[1].awaits(t, n)
	t.Logf("%d idle connections moved in %s", n, time.Since(start))
	for _, c := range clients {
		c.send(t, movePost)
		c.want(t, "b", "POST /b body")
	}
	moveUntil(t, "the old server has no connection", func() bool { return m.servers[0].conns.Load() == 0 })
}
