package seamless

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"
)

// BenchmarkHTTP2 loads two HTTP/2 servers in turns, one whose frames are
// followed and one of x/net alone, and reports the median ratio of their
// speeds (above 1, the former is faster) and what a request allocates in all,
// client included.
//
//	go test ./listeners/seamless -run - -bench HTTP2 -benchtime 100x
func BenchmarkHTTP2(b *testing.B) {
	for _, withTLS := range []bool{true, false} {
		for _, clients := range []int{1, 32} {
			b.Run(fmt.Sprintf("TLS %t, %d at once", withTLS, clients), func(b *testing.B) {
				followed, alone := goAwayStart(b, withTLS, goAwayOK), goAwayStart(b, withTLS, goAwayOK)
				base := alone.current.Load().server                      // nobody has connected
				if err := http2.ConfigureServer(base, nil); err != nil { //nolint:staticcheck // as before the frames were followed
					b.Fatal(err)
				}
				var do [2]func()
				for i, s := range []*goAwaySite{followed, alone} {
					client := s.clients(b)["x/net"]
					do[i] = func() { goAwayGet(b, client, s.url("/"), clients) }
					do[i]()
				}
				compare(b, goAwayGets, "allocs-alone/request", do[0], do[1])
			})
		}
	}
}

const goAwayGets = 640

// goAwayGet makes that many requests, some at once.
func goAwayGet(b *testing.B, client *http.Client, url string, clients int) {
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range goAwayGets / clients {
				answer, err := client.Get(url)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
			}
		})
	}
	all.Wait()
}
