package e2e

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// sockLoad are clients that make one request per connection, without a pause.
//
// What they lose is told apart by what the kernel sends. A connection that
// waits in an accept queue and goes with it is reset, and a new one without a
// listening socket is refused: both are losses of the socket. A server that
// accepted a connection has read its only request when it closes it, so the
// client sees a regular end: a loss of the server, which is shutting down. That
// nothing else ends like this is shown without such a server, in package
// listeners.
type sockLoad struct {
	answered, refused, reset, ended atomic.Int64

	other   chan string // the first failure that is none of these
	stop    chan struct{}
	clients sync.WaitGroup
}

// sockStartLoad starts clients in a namespace, if there is one; each goes
// around the addresses.
func sockStartLoad(t *testing.T, network *sockNet, path, kind string, addresses ...string) *sockLoad {
	l := &sockLoad{other: make(chan string, 1), stop: make(chan struct{})}
	for range 4 {
		l.clients.Go(func() {
			if network != nil {
				if err := network.enter(); err != nil {
					l.fail(err.Error())
					return
				}
			}
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
					l.count(sockGet(kind, addresses[i%len(addresses)], path))
				}
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

func (l *sockLoad) count(body string, err error) {
	switch {
	case err == nil && body != "":
		l.answered.Add(1)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		l.refused.Add(1)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		l.reset.Add(1)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		l.ended.Add(1)
	default:
		l.fail(fmt.Sprintf("%q, %v", body, err))
	}
}

func (l *sockLoad) fail(text string) {
	select {
	case l.other <- text:
	default:
	}
}

func (l *sockLoad) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.clients.Wait()
}

// more waits until so many further requests have been answered.
func (l *sockLoad) more(t *testing.T, n int64) {
	t.Helper()
	n += l.answered.Load()
	testcaddy.Eventually(t, "further answers", func() bool { return l.answered.Load() >= n || len(l.other) > 0 })
}

func (l *sockLoad) String() string {
	return fmt.Sprintf("%d requests answered; connections refused %d, reset in the queue %d, closed by a server that shut down %d",
		l.answered.Load(), l.refused.Load(), l.reset.Load(), l.ended.Load())
}

// lossless ends the load, and fails the test if a socket lost a connection.
func (l *sockLoad) lossless(t *testing.T) {
	t.Helper()
	l.end()
	t.Log(l)
	if l.refused.Load()+l.reset.Load() > 0 {
		t.Error("connections were lost")
	}
	select {
	case text := <-l.other:
		t.Errorf("a client saw %s", text)
	default:
	}
}

func TestTheQueueIsNeverLostByReloads(t *testing.T) {
	t.Parallel()
	const reloads = 200
	for _, test := range []struct {
		bind  string
		stock bool // for contrast: what is lost is only told
	}{
		{bind: "ipv4/127.0.0.1"},
		{bind: "unixsock/$DIR/app.sock"},
		{bind: "tcp4/127.0.0.1", stock: true},
	} {
		t.Run(test.bind, func(t *testing.T) {
			t.Parallel()
			network := sockNetwork(t)
			const port = 8080
			s := testcaddy.Start(t, sockConfig(sockSite(port, test.bind, "v0")))
			kind, address := "tcp", "127.0.0.1:8080"
			if test.bind == "unixsock/$DIR/app.sock" {
				kind, address = "unix", filepath.Join(s.Dir, "app.sock")
			}
			load := sockStartLoad(t, network, "/", kind, address)
			for i := 1; i <= reloads; i++ {
				load.more(t, 10)
				sockReload(t, s, sockSite(port, test.bind, "v"+strconv.Itoa(i)))
			}
			load.more(t, 10)
			sockServes(t, kind, address, "v"+strconv.Itoa(reloads))
			if !test.stock {
				load.lossless(t)
				return
			}
			load.end()
			t.Log(load)
		})
	}
}

func TestOverlappingChangesLoseNothing(t *testing.T) {
	t.Parallel()
	const v4, v6 = "127.0.0.1:8080", "[::1]:8080"
	for _, test := range []struct {
		name      string
		binds     []string // one after the other, around and around
		addresses []string // that all of them take
	}{
		{"wildcard and address", []string{"ipv4/*", "ipv4/127.0.0.1"}, []string{v4}},
		{"dual and ipv4", []string{"dual/", "ipv4/"}, []string{v4}},
		{"ipv6 and dual", []string{"ipv6/", "dual/"}, []string{v6}},
		{"address and interface", []string{"ipv4/127.0.0.1", "ipv4/lo"}, []string{v4}},
		{"interface and wildcard", []string{"dual/lo", "dual/"}, []string{v4, v6}},
		{"one socket and two", []string{"dual/", "ipv4/ ipv6/"}, []string{v4, v6}},
		{"all in turn", []string{"dual/", "dual/localhost", "ipv4/*", "ipv4/127.0.0.1", "ipv4/lo"}, []string{v4}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			network := sockNetwork(t)
			s := testcaddy.Start(t, sockConfig(sockSite(8080, test.binds[0], "v0")))
			load := sockStartLoad(t, network, "/", "tcp", test.addresses...)
			const rounds = 8
			var value string
			for i := range rounds * len(test.binds) {
				load.more(t, 20)
				value = "v" + strconv.Itoa(i+1)
				sockReload(t, s, sockSite(8080, test.binds[(i+1)%len(test.binds)], value))
			}
			load.more(t, 20)
			for _, address := range test.addresses {
				sockServes(t, "tcp", address, value)
			}
			load.lossless(t)
		})
	}
}
