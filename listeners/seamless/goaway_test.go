package seamless

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// goAwayKinds are what clients ask for.
var goAwayKinds = []struct {
	name string
	make func(url string) (*http.Request, error)
}{
	{"GET", func(url string) (*http.Request, error) {
		return http.NewRequest(http.MethodGet, url, nil)
	}},
	{"POST", func(url string) (*http.Request, error) {
		return http.NewRequest(http.MethodPost, url, strings.NewReader("text")) // can be read again
	}},
	{"POST once", func(url string) (*http.Request, error) {
		return http.NewRequest(http.MethodPost, url, io.NopCloser(strings.NewReader("text")))
	}},
}

// goAwayLoad is what 16 clients, four to a connection, have done.
type goAwayLoad struct {
	requests, failed atomic.Int64
	first            atomic.Pointer[error]
}

// run makes requests until it is stopped.
func (l *goAwayLoad) run(client *http.Client, url string, kind int, stop <-chan struct{}) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					l.do(client, url, kind)
				}
			}
		})
	}
	all.Wait()
}

// do makes one request.
func (l *goAwayLoad) do(client *http.Client, url string, kind int) {
	defer l.requests.Add(1)
	request, err := goAwayKinds[kind].make(url)
	if err == nil {
		var answer *http.Response
		if answer, err = client.Do(request); err == nil {
			defer answer.Body.Close()
			var body []byte
			if body, err = io.ReadAll(answer.Body); err == nil && string(body) != "ok"+strings.Repeat("text", min(kind, 1)) {
				err = fmt.Errorf("got %d %q", answer.StatusCode, body)
			}
		}
	}
	if err != nil {
		l.failed.Add(1)
		l.first.CompareAndSwap(nil, &err)
	}
}

// goAwayRounds has 32 clients of a kind move from epoch to epoch, and returns
// the site and what they saw, by the library they use.
func goAwayRounds(t *testing.T, kind, rounds int, leave func(*epoch)) (*goAwaySite, map[string]*goAwayLoad) {
	s := goAwayStart(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "ok")
		_, _ = io.Copy(w, r.Body)
	}))
	loads := map[string]*goAwayLoad{"net/http": {}, "x/net": {}}
	var all sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		for library, client := range s.clients(t) {
			all.Go(func() { loads[library].run(client, s.url("/"), kind, stop) })
		}
	}
	for range rounds {
		for _, load := range loads {
			before := load.requests.Load()
			goAwayEventually(t, "requests", func() bool { return load.requests.Load() > before+32 })
		}
		leave(s.renew())
	}
	close(stop)
	all.Wait()
	for library, load := range loads {
		first := "none"
		if err := load.first.Load(); err != nil {
			first = (*err).Error()
		}
		t.Logf("%s, %s: %d requests, %d failed, %d rounds; first error: %s",
			goAwayKinds[kind].name, library, load.requests.Load(), load.failed.Load(), rounds, first)
	}
	return s, loads
}

// Of requests that cannot be repeated, net/http's client gives up a few by
// itself ("cannot rewind body"). One GOAWAY loses many more, also of x/net's.
func TestGoAwayLosesNoRequest(t *testing.T) {
	t.Parallel()
	const rounds = 10
	for kind, k := range goAwayKinds {
		t.Run(k.name, func(t *testing.T) {
			s, loads := goAwayRounds(t, kind, rounds, (*epoch).goAway)
			for _, e := range s.epochs[:rounds] {
				e.ended(t)
			}
			for library, load := range loads {
				if n := load.failed.Load(); n > 0 && (k.name != "POST once" || library != "net/http") {
					t.Errorf("%s: %d of %d requests failed", library, n, load.requests.Load())
				}
			}
		})
	}
	t.Run("one GOAWAY", func(t *testing.T) {
		goAwayRounds(t, 2, rounds, func(e *epoch) { go func() { _ = e.server.Shutdown(context.Background()) }() })
	})
}
