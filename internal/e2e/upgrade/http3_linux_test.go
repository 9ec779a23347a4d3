package upgrade

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

// With the option h3 of the wrapper, packets find the process that has their
// connection: no request over HTTP/3 fails.
func TestUpgradeFailsNoRequestOverHTTP3(t *testing.T) {
	t.Parallel()
	s := start(t, config{seamless: "h3"})
	s.awaitHTTP3()
	var wg sync.WaitGroup
	var requests atomic.Int64
	stop := make(chan struct{})
	for i := range 8 {
		client := testcaddy.Client(t, "h3")
		client.Timeout = 10 * time.Second
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(i) * time.Millisecond):
				}
				if err := exchange(client, s.tlsURL(), false, n); err != nil {
					t.Errorf("client %d, request %d: %v", i, n, err)
					return
				}
				requests.Add(1)
			}
		})
	}
	for range 5 {
		s.deploy("")
		s.mustUpgrade()
	}
	close(stop)
	wg.Wait()
	if requests.Load() == 0 {
		t.Error("there were no requests")
	}
	t.Logf("%d requests", requests.Load())
	s.onlyProcess()
}

// Caddy's own HTTP/3, which sites with TLS have by default, is no obstacle, on this
// plugin's networks and on Caddy's: it stays with the old process as long as that
// drains, and is the new one's afterwards.
func TestUpgradeWithCaddysOwnHTTP3(t *testing.T) {
	t.Parallel()
	for _, bind := range []string{"ipv4/127.0.0.1", "127.0.0.1"} {
		t.Run(strings.ReplaceAll(bind, "/", " "), func(t *testing.T) {
			t.Parallel()
			s := start(t, config{
				servers: "protocols h1 h2 h3",
				gin:     "upgrade {\nprobation 300ms\ndrain 2s\n}",
				sites:   "https://localhost:$TLS {\nbind " + bind + "\ntls internal\ngin upgrade-main\n}\n",
			})
			s.awaitHTTP3()
			stream := s.idleTLS() // so that the old process drains to the limit
			defer func() { _ = stream.Close() }()
			for range 2 {
				before := s.onlyProcess()
				last, answered := make(chan int, 1), make(chan []int, 1)
				go func() { answered <- s.askHTTP3(last) }()
				s.deploy(fault.ErrorInBuild)
				if _, stderr, code := s.upgrade(); code != 3 {
					t.Errorf("exit code %d: %s", code, stderr)
				}
				s.deploy("")
				result := s.mustUpgrade().Result
				if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], fmt.Sprintf("HTTP/3 on udp/127.0.0.1:%d stays with the old process", s.tlsPort)) {
					t.Errorf("got the warnings %q", result.Warnings)
				}
				now := s.onlyProcess()
				last <- now
				if got := <-answered; !slices.Equal(got, []int{before, now}) {
					t.Errorf("processes %v answered, want %d and then %d", got, before, now)
				}
			}
		})
	}
}

// idleTLS opens a connection on which nothing happens after the handshake.
func (s *service) idleTLS() net.Conn {
	s.t.Helper()
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.tlsPort), &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}) //nolint:gosec // the CA is the server's own
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// askHTTP3 asks over HTTP/3 who answers, until it is the last process, and returns
// the processes in their order. When the old one ends, a request may be left without
// an answer, and the client must try again over another connection.
func (s *service) askHTTP3(last <-chan int) (answered []int) {
	client := testcaddy.Client(s.t, "h3")
	client.Timeout = 3 * time.Second
	const enough = 5
	for want, failed := 0, 0; failed < enough; {
		select {
		case want = <-last:
		default:
		}
		p, err := s.ask(client, s.tlsURL())
		if err != nil {
			s.t.Logf("HTTP/3 after processes %v: %v", answered, err)
			failed++
			client = testcaddy.Client(s.t, "h3")
			client.Timeout = 3 * time.Second
			continue
		}
		if n := len(answered); n == 0 || answered[n-1] != p.PID {
			answered = append(answered, p.PID)
		}
		if p.PID == want {
			break
		}
	}
	return answered
}

// awaitHTTP3 waits until HTTP/3 works.
func (s *service) awaitHTTP3() {
	client := testcaddy.Client(s.t, "h3")
	client.Timeout = 5 * time.Second
	s.eventually("HTTP/3 works", func() bool {
		_, err := s.ask(client, s.tlsURL())
		return err == nil
	})
}
