package upgrade

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// load is clients that make requests until it ends.
type load struct {
	t        testing.TB
	stop     chan struct{}
	wg       sync.WaitGroup
	requests atomic.Int64
	opened   atomic.Int32 // connections without TLS that are kept
	clients  int32        // with such connections
}

// newLoad starts clients of many kinds. A request that fails fails the test. The
// bodies of POSTs can be sent again, which Go's client does where HTTP lets it.
func newLoad(t testing.TB, s *service) *load {
	l := &load{t: t, stop: make(chan struct{})}
	for _, protocol := range []string{"http", "https", "h2", "unix"} {
		for i := range 8 {
			client, url := l.client(s, protocol)
			switch {
			case i == 0:
				client.Transport.(*http.Transport).DisableKeepAlives = protocol != "h2"
			case protocol == "http" || protocol == "unix":
				countConns(client, &l.opened)
				l.clients++
			}
			// over TLS, a connection may be closed between two requests, and Go repeats no POST then
			post := i%2 == 1 && protocol != "https"
			l.wg.Go(func() { l.run(client, url, protocol, post, time.Duration(i)*time.Millisecond) })
		}
	}
	return l
}

func (l *load) client(s *service, protocol string) (*http.Client, string) {
	if protocol == "unix" {
		client := testcaddy.Client(l.t, "http")
		client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "app.sock"))
		}
		return client, "http://unix.localhost"
	}
	if protocol == "http" {
		return testcaddy.Client(l.t, protocol), s.url()
	}
	return testcaddy.Client(l.t, protocol), s.tlsURL()
}

// countConns counts the connections that a client opens.
func countConns(client *http.Client, n *atomic.Int32) {
	transport := client.Transport.(*http.Transport)
	dial := transport.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return dial(ctx, network, address)
	}
}

func (l *load) run(client *http.Client, url, protocol string, post bool, pause time.Duration) {
	defer client.CloseIdleConnections()
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			return
		case <-time.After(pause):
		}
		if err := exchange(client, url, post, n); err != nil {
			l.t.Errorf("%s, post %t, request %d: %v", protocol, post, n, err)
			return
		}
		l.requests.Add(1)
	}
}

// exchange makes a request and checks the answer.
func exchange(client *http.Client, url string, post bool, n int) error {
	var resp *http.Response
	var err error
	text := fmt.Sprintf("order %d %s", n, strings.Repeat("x", n%5000))
	if post {
		resp, err = client.Post(url+"/echo", "text/plain", bytes.NewReader([]byte(text)))
	} else {
		resp, err = client.Get(url + "/process")
	}
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", resp.Status, body)
	case post && string(body) != text:
		return fmt.Errorf("got %.60q, want %.60q", body, text)
	}
	return nil
}

// end ends the clients. Those that keep their connections without TLS must not have
// needed others, but for one or two: Go's client leaves a connection if its own
// goroutine has not told within 50 ms of the answer that the request is written
// (maxWriteWaitBeforeConnReuse in net/http), as may be on a busy machine. That none is
// closed by the server cmd/reloadstorm counts, with clients of its own.
func (l *load) end() {
	l.t.Helper()
	close(l.stop)
	l.wg.Wait()
	if l.requests.Load() == 0 {
		l.t.Error("there were no requests")
	}
	if n := l.opened.Load(); n < l.clients || n > l.clients+2 {
		l.t.Errorf("%d clients without TLS opened %d connections, want one each", l.clients, n)
	}
	l.t.Logf("%d requests", l.requests.Load())
}
