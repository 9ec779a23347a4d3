package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// seamLoad are clients that ask without a pause, and never twice: what fails
// is counted. The values of the configurations are numbers.
type seamLoad struct {
	answers atomic.Int64
	ended   atomic.Int64 // kept connections that the server ended politely
	failed  atomic.Int64
	oldest  atomic.Int64 // the value that is loaded for sure
	newest  atomic.Int64 // the value that is being loaded, or is loaded

	mu       sync.Mutex
	failures []string // the first ones
	stop     chan struct{}
	clients  sync.WaitGroup
}

// seamStartLoad starts three clients for each way: one that keeps its
// connection, one with a connection for each request, and for HTTP/2 one that
// uses a connection for several requests at once. The value is 0.
func seamStartLoad(t testing.TB, ats ...seamAt) *seamLoad {
	t.Helper()
	l := &seamLoad{stop: make(chan struct{})}
	for _, at := range ats {
		if !strings.HasPrefix(at.protocol, "h2") {
			l.clients.Go(func() { l.keep(at) })
			l.clients.Go(func() { l.renew(at) })
			continue
		}
		client := l.client(t, at)
		for range 4 {
			l.clients.Go(func() { l.share(client, at) })
		}
	}
	t.Cleanup(l.end)
	return l
}

func (l *seamLoad) running() bool {
	select {
	case <-l.stop:
		return false
	default:
		return true
	}
}

func (l *seamLoad) end() {
	if l.running() {
		close(l.stop)
	}
	l.clients.Wait()
}

// seamRequest is the i-th request of a client.
func seamRequest(i int) (method, path string, body io.Reader) {
	if i%2 == 0 {
		return http.MethodGet, "/value", nil
	}
	return http.MethodPost, "/plain", struct{ io.Reader }{strings.NewReader("body")}
}

// keep makes requests over one connection, and opens another only when the
// server has said that it ends that.
func (l *seamLoad) keep(at seamAt) {
	var c *seamConn
	var err error
	for i := 0; l.running(); i++ {
		if c == nil {
			if c, err = at.dial(); err != nil {
				l.fail("%s: %v", at.protocol, err)
				continue
			}
		}
		oldest := l.oldest.Load()
		answer, err := c.do(seamRequest(i))
		l.count(at, "kept", answer, err, oldest)
		if answer.last {
			l.ended.Add(1)
		}
		if err != nil || answer.last {
			_ = c.Close()
			c = nil
		}
	}
	if c != nil {
		_ = c.Close()
	}
}

// renew opens a connection for each request.
func (l *seamLoad) renew(at seamAt) {
	for i := 0; l.running(); i++ {
		oldest := l.oldest.Load()
		c, err := at.dial()
		if err != nil {
			l.fail("%s: %v", at.protocol, err)
			continue
		}
		answer, err := c.do(seamRequest(i))
		l.count(at, "new", answer, err, oldest)
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // no TIME_WAIT
		}
		_ = c.Close()
	}
}

// client is Go's, which opens a connection when the server has sent GOAWAY.
func (l *seamLoad) client(t testing.TB, at seamAt) *http.Client {
	t.Helper()
	opened := false
	var mu sync.Mutex
	dial := func(context.Context, string, string) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if opened {
			l.ended.Add(1)
		}
		opened = true
		return at.connect()
	}
	transport := &http.Transport{DialContext: dial, DialTLSContext: dial, Protocols: new(http.Protocols), MaxConnsPerHost: 1}
	transport.Protocols.SetHTTP2(at.protocol == "h2")
	transport.Protocols.SetUnencryptedHTTP2(at.protocol == "h2c")
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: seamPatience}
}

// share makes requests over the connection of a client of HTTP/2.
func (l *seamLoad) share(client *http.Client, at seamAt) {
	for i := 0; l.running(); i++ {
		method, path, body := seamRequest(i)
		req, err := http.NewRequest(method, at.url(path), body)
		if err != nil {
			l.fail("%v", err)
			return
		}
		oldest := l.oldest.Load()
		resp, err := client.Do(req)
		if err != nil {
			l.count(at, method, seamAnswer{}, err, oldest)
			continue
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		l.count(at, method, seamAnswer{status: resp.StatusCode, body: string(text)}, err, oldest)
	}
}

func (l *seamLoad) count(at seamAt, client string, answer seamAnswer, err error, oldest int64) {
	l.answers.Add(1)
	newest := l.newest.Load()
	value, notNumber := strconv.ParseInt(answer.body, 10, 64)
	if err != nil || answer.status != http.StatusOK || notNumber != nil || value < oldest || value > newest {
		l.fail("%s, %s: got %d %q, %v; want a value from %d to %d", at.protocol, client, answer.status, answer.body, err, oldest, newest)
	}
}

func (l *seamLoad) fail(format string, args ...any) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) < 5 {
		l.failures = append(l.failures, fmt.Sprintf(format, args...))
	}
}

// more waits for further requests.
func (l *seamLoad) more(t testing.TB, n int64) {
	t.Helper()
	n += l.answers.Load()
	testcaddy.Eventually(t, "further answers", func() bool { return l.answers.Load() >= n || l.failed.Load() > 0 })
}

// reload loads the configuration of a value under load.
func (l *seamLoad) reload(t testing.TB, s *testcaddy.Server, value int64, config testcaddy.Config) {
	t.Helper()
	l.newest.Store(value)
	seamReload(t, s, config)
	l.oldest.Store(value)
	l.more(t, 20)
}

// lossless ends the load: no request may have failed.
func (l *seamLoad) lossless(t testing.TB) {
	t.Helper()
	l.end()
	t.Logf("%d requests, %d failed, %d connections ended by the server", l.answers.Load(), l.failed.Load(), l.ended.Load())
	if l.failed.Load() > 0 {
		t.Errorf("%d requests of %d failed:\n%s", l.failed.Load(), l.answers.Load(), strings.Join(l.failures, "\n"))
	}
}

// kept is lossless, and no connection may have ended.
func (l *seamLoad) kept(t testing.TB) {
	t.Helper()
	l.lossless(t)
	if n := l.ended.Load(); n > 0 {
		t.Errorf("the server ended %d connections", n)
	}
}
