package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// h3Load are clients that make requests over one QUIC connection as long as it
// holds.
type h3Load struct {
	transport        *http3.Transport
	dialled          atomic.Int64
	answered, failed atomic.Int64
	newest           atomic.Value // the last body

	first   sync.Once
	failure string

	stop    chan struct{}
	clients sync.WaitGroup
}

func newH3Load(t *testing.T) *h3Load {
	l := &h3Load{stop: make(chan struct{})}
	l.transport = &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the CA is made by the server under test
		Dial: func(ctx context.Context, addr string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			l.dialled.Add(1)
			return quic.DialAddrEarly(ctx, strings.Replace(addr, "localhost", "127.0.0.1", 1), tlsConfig, config)
		},
	}
	t.Cleanup(func() { _ = l.transport.Close() })
	return l
}

// ask makes one request, with a body that cannot be sent twice if it is a
// POST.
func (l *h3Load) ask(method, url string) (status int, answer string, err error) {
	var body io.Reader
	if method == http.MethodPost {
		body = io.NopCloser(strings.NewReader("body"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, "", err
	}
	resp, err := l.transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(got), err
}

func (l *h3Load) start(clients int, method, url string) {
	for range clients {
		l.clients.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				status, answer, err := l.ask(method, url)
				if err == nil && status == http.StatusOK {
					l.answered.Add(1)
					l.newest.Store(answer)
					continue
				}
				l.failed.Add(1)
				l.first.Do(func() { l.failure = fmt.Sprintf("status %d, %q, %v", status, answer, err) })
			}
		})
	}
}

// more waits until so many further requests have ended.
func (l *h3Load) more(t *testing.T, n int64) {
	t.Helper()
	n += l.answered.Load() + l.failed.Load()
	defer func() {
		if t.Failed() {
			t.Logf("%d answered, %d failed: %s", l.answered.Load(), l.failed.Load(), l.failure)
		}
	}()
	testcaddy.Eventually(t, "further answers", func() bool { return l.answered.Load()+l.failed.Load() >= n })
}

func (l *h3Load) end() {
	close(l.stop)
	l.clients.Wait()
}

func h3Config(servers, bind, value string) testcaddy.Config {
	return testcaddy.Config{
		Exclusive: true,
		Global:    "auto_https disable_redirects\nservers {\n" + servers + "\n}",
		Sites:     fmt.Sprintf("https://localhost:$HTTPS {\nbind %s\ntls internal\nrespond %s\n}\n", bind, value),
	}
}

func TestSeamlessHTTP3LosesNothing(t *testing.T) {
	t.Parallel()
	const ours, stock = "protocols h1 h2\nlistener_wrappers {\nseamless {\nh3\n}\n}", ""
	for _, test := range []struct{ name, servers, bind string }{
		{"ipv4", ours, "ipv4/127.0.0.1"},
		{"dual", ours, "dual/"},
		{"tcp4", ours, "tcp4/127.0.0.1"},
		{"stock for contrast", stock, "tcp4/127.0.0.1"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(test.name+" "+method, func(t *testing.T) {
				t.Parallel()
				s := testcaddy.Start(t, h3Config(test.servers, test.bind, "v0"))
				l := newH3Load(t)
				l.start(16, method, fmt.Sprintf("https://localhost:%d/", s.HTTPSPort))
				const reloads = 40
				for i := 1; i <= reloads; i++ {
					l.more(t, 50)
					if err := s.Reload(h3Config(test.servers, test.bind, fmt.Sprintf("v%d", i))); err != nil {
						t.Fatal(err)
					}
				}
				l.more(t, 50)
				if got, want := l.newest.Load(), fmt.Sprintf("v%d", reloads); got != want {
					t.Errorf("the newest answer is %v, not %s", got, want)
				}
				l.end()
				t.Logf("%d requests answered, %d failed, over %d connections", l.answered.Load(), l.failed.Load(), l.dialled.Load())
				if test.servers == ours && (l.failed.Load() > 0 || l.dialled.Load() != 1) {
					t.Errorf("the first failure: %s", l.failure)
				}
			})
		}
	}
}
