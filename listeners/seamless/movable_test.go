//go:build unix

package seamless

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// movePair starts two servers and a client of the first one.
func movePair(t *testing.T, network string, change ...func(*http.Server)) (a, b moveServer, c *moveClient) {
	t.Helper()
	a, b = moveNew(t, "a", change...), moveNew(t, "b", change...)
	return a, b, moveDial(t, a.listen(t, network))
}

func TestIdleConnectionsMove(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, first := range []string{"", moveGet, movePost} {
			t.Run(network+"/"+first[:min(4, len(first))], func(t *testing.T) {
				t.Parallel()
				a, b, c := movePair(t, network)
				if first != "" {
					c.send(t, first)
					if server, _, err := c.answer(); err != nil || server != "a" {
						t.Fatalf("%s answered, %v", server, err)
					}
				}
				a.awaits(t, 1)
				a.leaveFor(b.take)
				b.awaits(t, 1)
				c.send(t, movePost)
				c.want(t, "b", "POST /b body")
				moveUntil(t, "the old server has no connection", func() bool { return a.conns.Load() == 0 })
			})
		}
	}
}

// A connection that becomes idle later moves then.
func TestBusyConnectionsMoveLater(t *testing.T) {
	t.Parallel()
	a, b, c := movePair(t, "tcp")
	c.send(t, movePost[:10])
	a.begins(t)
	a.leaveFor(b.take)
	c.send(t, movePost[10:])
	c.want(t, "a", "POST /b body")
	b.awaits(t, 1)
	c.send(t, moveGet)
	c.want(t, "b", "GET /a ")
}

// What has begun is finished by the server that read it, whatever arrived.
func TestPartsOfRequestsDoNotMove(t *testing.T) {
	for name, parts := range map[string][]string{
		"a byte":                 {"P", "OST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"},
		"bytes":                  strings.Split(movePost, ""),
		"a line":                 {"POST /b HTTP/1.1\r\n", "Host: h\r\nContent-Length: 4\r\n\r\nbody"},
		"a header":               {"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n", "body"},
		"a part of the body":     {movePost[:len(movePost)-2], "dy"},
		"a header of 4096 bytes": {"POST /b HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 4096-len("POST /b HTTP/1.1\r\nHost: h\r\nA: \r\n")) + "\r\n", "Content-Length: 4\r\n\r\nbody"},
	} {
		for _, pipelined := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a, b, c := movePair(t, "tcp")
				stole := 0
				if pipelined {
					c.send(t, moveGet+parts[0])
					c.want(t, "a", "GET /a ")
				} else {
					c.send(t, moveGet)
					c.want(t, "a", "GET /a ")
					a.awaits(t, 1)
					c.send(t, parts[0])
					a.begins(t)
				}
				for i, part := range parts[1:] {
					if i == 0 {
						a.leaveFor(func(key string, conn syscall.Conn) error {
							stole++
							return b.take(key, conn)
						})
					}
					a.movables.interrupt()
					c.send(t, part)
				}
				c.want(t, "a", "POST /b body")
				b.awaits(t, 1)
				if stole != 1 {
					t.Errorf("moved %d times", stole)
				}
				c.send(t, moveGet)
				c.want(t, "b", "GET /a ")
			})
		}
	}
}

// A request of which a part was buffered, up to the end of a line, has net/http
// read with an empty buffer in the middle of it.
func TestPipelinedLineDoesNotMove(t *testing.T) {
	t.Parallel()
	a, b := moveNew(t, "a"), moveNew(t, "b")
	was := make(chan struct{}, 2) // idle
	a.server.ConnState = func(conn net.Conn, state http.ConnState) {
		a.connState(conn, state)
		if state == http.StateIdle {
			was <- struct{}{}
		}
	}
	c := moveDial(t, a.listen(t, "tcp"))
	c.send(t, moveGet+"POST /b HTTP/1.1\r\n")
	c.want(t, "a", "GET /a ")
	<-was
	a.begins(t)
	for range 100 {
		a.leaveFor(b.take)
	}
	c.send(t, "Host: h\r\nContent-Length: 4\r\n\r\nbody")
	c.want(t, "a", "POST /b body")
	b.awaits(t, 1)
}

func TestExpectContinueDoesNotMove(t *testing.T) {
	t.Parallel()
	a, b, c := movePair(t, "tcp")
	c.send(t, "POST /b HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("%v, %v", resp, err)
	}
	a.leaveFor(b.take)
	c.send(t, "body")
	c.want(t, "a", "POST /b body")
	b.awaits(t, 1)
	c.send(t, movePost)
	c.want(t, "b", "POST /b body")
}

// HTTP/2 with prior knowledge does not move, even as a prefix of its preface,
// and a method that begins like it does.
func TestPrefaceDoesNotMove(t *testing.T) {
	t.Parallel()
	a, b, c := movePair(t, "tcp")
	for i := range "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
		c.send(t, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[i:i+1])
		if i == 0 {
			a.begins(t)
			a.leaveFor(func(string, syscall.Conn) error { t.Error("moved"); return nil })
		}
	}
	settings := make([]byte, 9)
	if _, err := io.ReadFull(c.r, settings); err != nil || settings[3] != 4 {
		t.Fatalf("%v, %v", settings, err)
	}
	other := moveNew(t, "a")
	c = moveDial(t, other.listen(t, "tcp"))
	c.send(t, "PRI /c HTTP/1.1\r\nHost: h\r\n\r\n")
	c.want(t, "a", "PRI /c ")
	other.leaveFor(b.take)
	b.awaits(t, 1)
}

func TestHijackedDoNotMove(t *testing.T) {
	t.Parallel()
	a, _, c := movePair(t, "tcp")
	a.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_ = conn.SetReadDeadline(time.Time{})
		_, _ = io.WriteString(conn, "hijacked\n")
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	})
	c.send(t, moveGet)
	if line, err := c.r.ReadString('\n'); err != nil || line != "hijacked\n" {
		t.Fatal(line, err)
	}
	if a.conns.Load() != 0 || len(a.movables.open) != 0 {
		t.Error("it is still among the connections")
	}
	a.leaveFor(func(string, syscall.Conn) error { t.Error("moved"); return nil })
	c.send(t, strings.Repeat("x", bufferSize)+"\n")
	if line, err := c.r.ReadString('\n'); err != nil || len(line) != bufferSize+1 {
		t.Fatal(len(line), err)
	}
}

// After a move that failed the connection goes on, with the deadline it had.
func TestFailedMoveKeepsDeadline(t *testing.T) {
	for name, set := range map[string]func(*http.Server){
		"idle":   func(s *http.Server) { s.IdleTimeout = time.Second },
		"header": func(s *http.Server) { s.ReadHeaderTimeout = time.Second },
		"none":   func(*http.Server) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, _, c := movePair(t, "tcp", set)
			if name != "header" {
				c.send(t, moveGet)
				c.want(t, "a", "GET /a ")
			}
			a.awaits(t, 1)
			failed := make(chan struct{})
			a.leaveFor(func(string, syscall.Conn) error {
				close(failed)
				return errors.New("no")
			})
			<-failed
			if name != "none" {
				c.wantEnd(t)
				return
			}
			for range 3 { // it is not tried again
				c.send(t, movePost)
				c.want(t, "a", "POST /b body")
			}
		})
	}
}

// The client of an adopted connection may be as idle as before, although
// net/http takes it for a new one.
func TestAdoptedConnectionIsIdle(t *testing.T) {
	t.Parallel()
	header := func(s *http.Server) { s.ReadHeaderTimeout = time.Nanosecond; s.IdleTimeout = time.Hour }
	a, b := moveNew(t, "a"), moveNew(t, "b", header)
	c := moveDial(t, a.listen(t, "tcp"))
	a.awaits(t, 1)
	a.leaveFor(b.take)
	b.awaits(t, 1)
	c.send(t, "GET /a HTTP/1.1\r\n")
	c.wantEnd(t) // the rest was not there in time

	idle := func(s *http.Server) { s.ReadHeaderTimeout = time.Hour; s.IdleTimeout = time.Millisecond }
	a, b = moveNew(t, "a"), moveNew(t, "b", idle)
	c = moveDial(t, a.listen(t, "tcp"))
	a.awaits(t, 1)
	a.leaveFor(b.take)
	c.wantEnd(t)
}

// A Close during a move leaves the connection to whom it is given, or closes it
// if the move fails.
func TestCloseDuringMove(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(map[bool]string{false: "moves", true: "fails"}[fails], func(t *testing.T) {
			t.Parallel()
			a, b, c := movePair(t, "tcp")
			a.awaits(t, 1)
			a.leaveFor(func(key string, conn syscall.Conn) error {
				_ = a.server.Close()
				if fails {
					return errors.New("no")
				}
				return b.take(key, conn)
			})
			if fails {
				c.wantEnd(t)
			} else {
				c.send(t, moveGet)
				c.want(t, "b", "GET /a ")
			}
			moveUntil(t, "the old server has no connection", func() bool { return a.conns.Load() == 0 })
		})
	}
}
