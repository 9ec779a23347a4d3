package listeners

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// poolChange is a change of an address from one configuration to the next.
type poolChange struct {
	name     string
	from, to string   // with PORT for the port and DIR for a folder
	dial     []string // hosts that both take
}

var poolChanges = []poolChange{
	{"the same address", "ipv4/127.0.0.1:PORT", "ipv4/127.0.0.1:PORT", []string{"127.0.0.1"}},
	{"the same two sockets", "dual/localhost:PORT", "dual/localhost:PORT", []string{"127.0.0.1", "::1"}},
	{"other options", "ipv4/127.0.0.1:PORT", "ipv4/127.0.0.1?backlog=500:PORT", []string{"127.0.0.1"}},
	{"wildcard to address", "ipv4/*:PORT", "ipv4/127.0.0.1:PORT", []string{"127.0.0.1"}},
	{"address to wildcard", "ipv4/127.0.0.1:PORT", "ipv4/*:PORT", []string{"127.0.0.1"}},
	{"dual to ipv4", "dual/:PORT", "ipv4/:PORT", []string{"127.0.0.1"}},
	{"ipv4 to dual", "ipv4/:PORT", "dual/:PORT", []string{"127.0.0.1"}},
	{"ipv6 to dual", "ipv6/:PORT", "dual/:PORT", []string{"::1"}},
	{"dual to ipv6", "dual/:PORT", "ipv6/:PORT", []string{"::1"}},
	{"two sockets to a wildcard", "dual/localhost:PORT", "dual/:PORT", []string{"127.0.0.1", "::1"}},
	{"a wildcard to two sockets", "dual/:PORT", "dual/localhost:PORT", []string{"127.0.0.1", "::1"}},
	{"two sockets to one of them", "dual/localhost:PORT", "ipv4/127.0.0.1:PORT", []string{"127.0.0.1"}},
	{"one socket to that and another", "ipv4/127.0.0.1:PORT", "dual/localhost:PORT", []string{"127.0.0.1"}},
	{"plain TCP", "ipv4/*?mptcp=off:PORT", "ipv4/127.0.0.1?mptcp=off:PORT", []string{"127.0.0.1"}},
	{"shared", "ipv4/*?share:PORT", "ipv4/127.0.0.1?share:PORT", []string{"127.0.0.1"}},
	{"a Unix socket", "unixsock/DIR/s", "unixsock/DIR/s", nil},
}

// begin opens the first listener, and returns the second address and those to
// dial.
func (c poolChange) begin(t testing.TB) (first net.Listener, second string, dial []net.Addr) {
	t.Helper()
	if c.dial == nil {
		if runtime.GOOS == "windows" {
			t.Skip("Unix sockets of this package need a Unix")
		}
		folder := t.TempDir()
		file := filepath.Join(folder, "s")
		return poolOpen(t, poolConfig(t), strings.ReplaceAll(c.from, "DIR", folder)),
			strings.ReplaceAll(c.to, "DIR", folder), []net.Addr{&net.UnixAddr{Net: "unix", Name: file}}
	}
	if c.from != c.to && runtime.GOOS != "linux" {
		t.Skip("not all systems pass the queues of overlapping sockets on")
	}
	first, port := poolAnyPort(t, c.from)
	for _, host := range c.dial {
		dial = append(dial, &net.TCPAddr{IP: net.ParseIP(host), Port: port})
	}
	return first, strings.ReplaceAll(c.to, "PORT", strconv.Itoa(port)), dial
}

// poolEachChange runs a test for each change, with what begin returns.
func poolEachChange(t *testing.T, test func(t *testing.T, first net.Listener, to string, dial []net.Addr)) {
	t.Parallel()
	for _, change := range poolChanges {
		t.Run(change.name, func(t *testing.T) {
			t.Parallel()
			first, to, dial := change.begin(t)
			test(t, first, to, dial)
		})
	}
}

func TestWhatWaitsInTheQueueGoesToTheNextConfiguration(t *testing.T) {
	poolEachChange(t, func(t *testing.T, first net.Listener, to string, dial []net.Addr) {
		conns := poolSend(t, dial, 60)
		second := poolOpen(t, poolConfig(t), to)
		_ = first.Close()
		var accepted atomic.Int64
		go poolEcho(second, &accepted)
		poolAnswered(t, conns)
		poolAnswered(t, poolSend(t, dial, 10))
	})
}

func TestWhatAFailedLoadTookGoesBackToTheConfigurationBefore(t *testing.T) {
	poolEachChange(t, func(t *testing.T, first net.Listener, to string, dial []net.Addr) {
		second := poolOpen(t, poolConfig(t), to)
		conns := poolSend(t, dial, 60)
		_ = second.Close()
		var accepted atomic.Int64
		go poolEcho(first, &accepted)
		poolAnswered(t, conns)
		poolAnswered(t, poolSend(t, dial, 10))
	})
}

// Caddy closes the listeners of a configuration that was refused or replaced
// in goroutines that a load does not wait for; what connects after the load is
// for the configuration that is valid then.
func TestAConfigurationThatIsOverAcceptsNothing(t *testing.T) {
	poolEachChange(t, func(t *testing.T, first net.Listener, to string, dial []net.Addr) {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
		defer cancel()
		second := poolOpen(t, ctx, to)
		var valid, over atomic.Int64
		go poolEcho(first, &valid)
		go poolEcho(second, &over)
		poolAnswered(t, poolSend(t, dial, 30))
		before := over.Load()
		cancel()
		poolAnswered(t, poolSend(t, dial, 30))
		if after := over.Load(); after != before {
			t.Errorf("%d connections were accepted", after-before)
		}
		if all := valid.Load() + over.Load(); all != 60 {
			t.Errorf("%d connections were accepted, want 60", all)
		}
	})
}

// A listener of two sockets accepts ahead of its caller, so its goroutines
// hold connections when it is closed.
func TestWhatTwoSocketsHaveAcceptedAheadIsNotLost(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"dual/localhost:PORT", "dual/:PORT"} {
		change := poolChange{from: "dual/localhost:PORT", to: to, dial: []string{"127.0.0.1", "::1"}}
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			for round := range 40 {
				first, to, dial := change.begin(t)
				conns := poolSend(t, dial, 12)
				conn, err := first.Accept() // starts the goroutines
				if err != nil {
					t.Fatal(err)
				}
				go func() { _, _ = io.Copy(conn, conn) }()
				second := poolOpen(t, poolConfig(t), to)
				_ = first.Close()
				var accepted atomic.Int64
				go poolEcho(second, &accepted)
				poolAnswered(t, conns)
				_ = second.Close()
				poolEnd(conn)
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
			}
		})
	}
}

// The server loop of each configuration runs until its listener is closed,
// like Caddy's; but unlike Caddy's it answers all it accepts, so that nothing
// may be lost at all.
func TestNoConnectionIsLostWhileListenersHandOver(t *testing.T) {
	t.Parallel()
	for _, change := range poolChanges {
		t.Run(change.name, func(t *testing.T) {
			t.Parallel()
			ln, to, dial := change.begin(t)
			back := strings.ReplaceAll(change.from, "DIR", filepath.Dir(dial[0].String()))
			if addr, ok := ln.Addr().(*net.TCPAddr); ok {
				back = strings.ReplaceAll(back, "PORT", strconv.Itoa(addr.Port))
			}
			addresses := [2]string{to, back}
			var accepted, answered atomic.Int64
			go poolEcho(ln, &accepted)

			stop, failed := make(chan struct{}), make(chan error, 1)
			var clients sync.WaitGroup
			for i := range 3 {
				clients.Go(func() { poolClient(dial, i, stop, failed, &answered) })
			}
			handOvers := 200
			if change.from != change.to { // which is slower
				handOvers = 80
			}
			for i := range handOvers {
				more := answered.Load() + 5
				for deadline := time.Now().Add(poolPatience); answered.Load() < more && len(failed) == 0; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("no answers after %d hand-overs", i)
					}
				}
				if len(failed) > 0 {
					break
				}
				next := poolOpen(t, poolConfig(t), addresses[i%2])
				go poolEcho(next, &accepted)
				_ = ln.Close()
				ln = next
			}
			close(stop)
			clients.Wait()
			select {
			case err := <-failed:
				t.Error(err)
			default:
			}
			t.Logf("%d connections accepted, %d answered", accepted.Load(), answered.Load())
		})
	}
}

func TestOneConfigurationHasASocketOnce(t *testing.T) {
	t.Parallel()
	other, n := poolAnyPort(t, "ipv4/127.0.0.1:PORT")
	port := strconv.Itoa(n)
	config := poolConfig(t)
	ln := poolOpen(t, config, "ipv4/127.0.0.1:"+port)
	_ = other.Close()
	for _, again := range []string{"ipv4/127.0.0.1:", "ipv4/127.0.0.1?backlog=7:", "dual/localhost:", "ipv4/localhost:"} {
		if twice, err := poolTry(config, again+port); !errors.Is(err, errTwice) {
			t.Errorf("%s%s: got %v, want a refusal", again, port, err)
			if err == nil {
				_ = twice.Close()
			}
		}
	}
	next := poolOpen(t, poolConfig(t), "dual/localhost:"+port) // nothing of the refusals is left
	_ = next.Close()
	conns := poolSend(t, []net.Addr{ln.Addr()}, 5)
	var accepted atomic.Int64
	go poolEcho(ln, &accepted)
	poolAnswered(t, conns)
}

func TestPort0IsTheSamePortForAllWhoAskForIt(t *testing.T) {
	t.Parallel()
	first := poolOpen(t, poolConfig(t), "ipv4/127.0.0.1?backlog=11:0")
	second := poolOpen(t, poolConfig(t), "ipv4/127.0.0.1?backlog=12:0")
	_ = first.Close()
	third := poolOpen(t, poolConfig(t), "ipv4/127.0.0.1:0")
	_ = second.Close()
	if first.Addr().String() != third.Addr().String() {
		t.Errorf("the port was %s and is %s", first.Addr(), third.Addr())
	}
	_ = third.Close()
}
