package upgrade

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
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

// awaitHTTP3 waits until HTTP/3 works.
func (s *service) awaitHTTP3() {
	client := testcaddy.Client(s.t, "h3")
	client.Timeout = 5 * time.Second
	s.eventually("HTTP/3 works", func() bool {
		_, err := s.ask(client, s.tlsURL())
		return err == nil
	})
}
