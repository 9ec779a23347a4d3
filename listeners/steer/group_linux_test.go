package steer

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ask connects and returns the name of the process that accepted.
func ask(address string) (string, error) {
	conn, err := net.DialTimeout("tcp", address, 30*time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	name, err := io.ReadAll(conn)
	return string(name), err
}

// reaches fails unless 500 new connections all reach a process.
func reaches(t *testing.T, address, want string) {
	t.Helper()
	for range 500 {
		if got, err := ask(address); err != nil || got != want {
			t.Fatalf("reached %q (%v), want %s", got, err, want)
		}
	}
}

// everyKind runs a test on the kinds of listening sockets and on addresses of
// both families.
func everyKind(t *testing.T, test func(t *testing.T, kind, address string)) {
	for _, kind := range []string{"tcp", "mptcp"} {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
			t.Run(kind+" "+address, func(t *testing.T) {
				t.Parallel()
				if strings.Contains(address, "::1") {
					ln, err := net.Listen("tcp", address)
					if err != nil {
						t.Skip(err)
					}
					_ = ln.Close()
				}
				test(t, kind, address)
			})
		}
	}
}

func TestNewConnectionsReachTheProcessThatShallHaveThem(t *testing.T) {
	t.Parallel()
	everyKind(t, func(t *testing.T, kind, address string) {
		first, second := start(t, "first"), start(t, "second")
		at := first.serve(kind, address)
		first.do("keep")
		reaches(t, at, "first")
		first.do("give")
		reaches(t, at, "first") // nobody else is there yet
		first.do("keep")
		second.serve(kind, at)
		reaches(t, at, "first")
		for range 3 {
			first.do("give")
			reaches(t, at, "second")
			first.do("keep")
			reaches(t, at, "first")
		}
		first.do("give")
		second.kill()
		reaches(t, at, "first")
	})
}

// A process that is gone leaves its number to the one that joined last, and
// the program to those that are left.
func TestProgramOutlivesTheProcessThatAttachedIt(t *testing.T) {
	t.Parallel()
	for _, way := range [][2]string{{"keep", "close"}, {"give", "close"}, {"give", "end"}} {
		t.Run(way[0]+" "+way[1], func(t *testing.T) {
			t.Parallel()
			first, second, third := start(t, "first"), start(t, "second"), start(t, "third")
			at := first.serve("mptcp", "127.0.0.1:0")
			first.do("keep")
			second.serve("mptcp", at)
			first.do(way[0])
			first.do(way[1])
			reaches(t, at, "second")
			third.serve("mptcp", at)
			reaches(t, at, map[string]string{"keep": "second", "give": "third"}[way[0]])
		})
	}
}

func TestSuccessorsInALine(t *testing.T) {
	t.Parallel()
	now := start(t, "0")
	at := now.serve("mptcp", "127.0.0.1:0")
	for i := range 5 {
		name := fmt.Sprint(i + 1)
		now.do("keep")
		next := start(t, name)
		next.serve("mptcp", at)
		reaches(t, at, fmt.Sprint(i))
		now.do("give")
		reaches(t, at, name)
		now.do("close")
		reaches(t, at, name)
		now = next
	}
}

// Without a program, the kernel spreads connections.
func TestDetach(t *testing.T) {
	t.Parallel()
	everyKind(t, func(t *testing.T, kind, address string) {
		first, second := start(t, "first"), start(t, "second")
		at := first.serve(kind, address)
		first.do("keep")
		first.do("detach")
		first.do("detach") // there is none any more
		second.serve(kind, at)
		seen := make(map[string]bool)
		for range 500 {
			name, err := ask(at)
			if err != nil {
				t.Fatal(err)
			}
			seen[name] = true
		}
		if len(seen) != 2 {
			t.Errorf("reached %v, want both", seen)
		}
	})
}

// What shares its address with others cannot tell which of them is meant.
func TestKeepRefusesSharedAddress(t *testing.T) {
	t.Parallel()
	first, second := start(t, "first"), start(t, "second")
	at := first.serve("mptcp", "127.0.0.1:0")
	second.serve("mptcp", at)
	for _, command := range []string{"keep", "detach"} {
		if got := second.try(command); !strings.Contains(got, at) || !strings.Contains(got, "2 sockets share the address") {
			t.Errorf("%s: %s", command, got)
		}
	}
	first.do("close")
	second.do("keep")
}

// An old server of the same process that is being shut down is waited for.
func TestOwnWaitsForTheSocketBefore(t *testing.T) {
	t.Parallel()
	before, err := sharedListener("mptcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := sharedListener("mptcp", before.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	at := ln.Addr().String()
	match := func(addr net.Addr) bool { return addr.String() == at }
	if groups, err := Own(match); err == nil || !strings.Contains(err.Error(), at+" has two listening sockets") {
		t.Errorf("%d groups, %v", len(groups), err)
	}
	time.AfterFunc(50*time.Millisecond, func() { _ = before.Close() })
	groups, err := Own(match)
	if err != nil || len(groups) != 1 {
		t.Fatalf("%d groups (%v), want 1", len(groups), err)
	}
	defer func() { _ = groups[0].Close() }()
	if err := groups[0].Keep(); err != nil {
		t.Error(err)
	}
}

func TestOwn(t *testing.T) {
	t.Parallel()
	ln, err := sharedListener("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	duplicate, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = duplicate.Close() }()
	exclusive, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = exclusive.Close() }()
	for address, want := range map[string]int{ln.Addr().String(): 1, exclusive.Addr().String(): 0} {
		groups, err := Own(func(addr net.Addr) bool { return addr.String() == address })
		if err != nil || len(groups) != want {
			t.Errorf("%d groups (%v), want %d", len(groups), err, want)
		}
		_ = closeAll(groups)
	}
}

// What is in the accept queue, or on its way there, at the switch, is served
// by the process that it was sent to.
func TestGiveLosesNoConnection(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "mptcp", "defer"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			first, second := start(t, "first"), start(t, "second")
			at := first.do("listen " + kind + " 127.0.0.1:0")
			first.do("own " + at)
			first.do("keep")
			var conns []net.Conn
			for range 100 {
				conn, err := net.Dial("tcp", at)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				conns = append(conns, conn)
			}
			second.serve("tcp", at)
			first.do("give")
			reaches(t, at, "second")
			first.do("accept")
			for _, conn := range conns {
				if _, err := io.WriteString(conn, "?"); err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				name := make([]byte, 5)
				if _, err := io.ReadFull(conn, name); err != nil || string(name) != "first" {
					t.Fatalf("%q, %v", name, err)
				}
			}
		})
	}
}

func TestSwitchingUnderLoadLosesNoConnection(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tcp", "mptcp"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			first, second := start(t, "first"), start(t, "second")
			at := first.serve(kind, "127.0.0.1:0")
			stop := make(chan struct{})
			var served [2]atomic.Int64
			var load sync.WaitGroup
			for range 4 {
				load.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						name, err := ask(at)
						switch {
						case err != nil:
							t.Error(err)
						case name == "first":
							served[0].Add(1)
						case name == "second":
							served[1].Add(1)
						default:
							t.Errorf("answered %q", name)
						}
					}
				})
			}
			first.do("keep")
			second.serve(kind, at)
			for range 200 {
				first.do("give")
				first.do("keep")
			}
			close(stop)
			load.Wait()
			t.Logf("%d connections to the first process, %d to the second", served[0].Load(), served[1].Load())
		})
	}
}
