package e2e

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// lifeLoad are clients that ask for /value without a pause.
type lifeLoad struct {
	answers   atomic.Int64
	failures  atomic.Int64 // of connections; stock TCP resets some at a reload
	requested atomic.Int64 // the value that is being loaded, or is loaded
	committed atomic.Int64 // the value that is loaded for sure
	wrong     chan string  // the first answer that should not be
	stop      chan struct{}
	clients   sync.WaitGroup
}

func lifeStartLoad(t *testing.T, url string) *lifeLoad {
	l := &lifeLoad{wrong: make(chan string, 1), stop: make(chan struct{})}
	for i := range 6 {
		client := testcaddy.Client(t, "http")
		if i%2 == 1 { // a new connection for each request
			client.Transport.(*http.Transport).DisableKeepAlives = true
		}
		l.clients.Go(func() {
			l.run(client, url)
			client.CloseIdleConnections()
		})
	}
	t.Cleanup(l.end)
	return l
}

func (l *lifeLoad) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.clients.Wait()
}

func (l *lifeLoad) run(client *http.Client, url string) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		// /load returns when the old server has been told to shut down, which
		// it may not have noticed: hence the one before
		oldest := l.committed.Load() - 1
		status, body, err := lifeTry(client, url)
		newest := l.requested.Load()
		if err != nil && status == 0 {
			l.failures.Add(1)
			continue
		}
		value, notNumber := strconv.ParseInt(body, 10, 64)
		if err != nil || notNumber != nil || status != http.StatusOK || value < oldest || value > newest {
			select {
			case l.wrong <- fmt.Sprintf("got %d %q, %v; want 200 and a value from %d to %d", status, body, err, oldest, newest):
			default:
			}
		}
		l.answers.Add(1)
	}
}

// lifeRSS returns the resident memory of the server in MiB, or 0 where there
// is no /proc.
func lifeRSS(s *testcaddy.Server) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib >> 10
		}
	}
	return 0
}

func TestEveryAnswerDuringReloadsIsOfTheOldOrTheNewConfiguration(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("0", "key k", "tasks 1"))
	for i := 1; i <= 5; i++ { // so that what is made once is made
		lifeReload(t, s, lifeApp("0", "key k", "tasks 1"))
	}
	base, heap := lifeSettled(t, s, 5), lifeHeap(t, s)

	load := lifeStartLoad(t, s.HTTP("/value"))
	for i := 1; i <= 200; i++ {
		load.requested.Store(int64(i))
		lifeReload(t, s, lifeApp(strconv.Itoa(i), "key k", "tasks 1"))
		load.committed.Store(int64(i))
		more := load.answers.Load() + 50
		testcaddy.Eventually(t, "answers between the reloads", func() bool { return load.answers.Load() >= more })
		select {
		case wrong := <-load.wrong:
			t.Fatalf("reload %d: %s", i, wrong)
		default:
		}
		if i == 50 || i == 200 {
			t.Logf("after %d reloads: VmRSS %d MiB, %d answers, %d failed connections",
				i, lifeRSS(s), load.answers.Load(), load.failures.Load())
		}
	}
	load.end()
	select {
	case wrong := <-load.wrong:
		t.Fatal(wrong)
	default:
	}
	client := testcaddy.Client(t, "http")
	if got := lifeGet(t, client, s.HTTP("/value")); got != "200" {
		t.Errorf("the value is %q at the end", got)
	}
	client.CloseIdleConnections()
	base.restored(t, s)
	now := lifeHeap(t, s)
	t.Logf("heap: %d KiB before, %d KiB at the end", heap>>10, now>>10)
	if now > heap+8<<20 { // 40 KiB for each configuration; one has more
		t.Errorf("the heap grew from %d KiB to %d KiB", heap>>10, now>>10)
	}
}

// lifeHeap returns how many bytes are in use after a garbage collection.
func lifeHeap(t *testing.T, s *testcaddy.Server) (n int) {
	t.Helper()
	text, err := s.Admin("/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "# HeapAlloc = ")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatalf("reading the heap profile: %v", err)
	}
	return n
}

// lifeBase is how much a server has of what must not grow.
type lifeBase struct{ goroutines, descriptors int }

// lifeSettled measures the base line after the given number of configurations
// with the value 0 have been released. It is the most of some measurements,
// as requests of the admin API come and go.
func lifeSettled(t *testing.T, s *testcaddy.Server, released int) (base lifeBase) {
	t.Helper()
	testcaddy.Eventually(t, "the release of the first configurations", func() bool {
		return lifeCount(t, s.Dir, "release 0 last") == released
	})
	for range 10 {
		now := lifeMeasure(s)
		base.goroutines = max(base.goroutines, now.goroutines)
		base.descriptors = max(base.descriptors, now.descriptors)
	}
	return base
}

// restored waits until there is no more than at the base line. Pools and
// timers of Caddy's own come and go.
func (base lifeBase) restored(t *testing.T, s *testcaddy.Server) {
	t.Helper()
	const slack = 3
	var now lifeBase
	defer func() {
		if t.Failed() {
			profile, _ := s.Admin("/debug/pprof/goroutine?debug=1")
			t.Logf("the base line is %+v, there are %+v:\n%s", base, now, profile)
		}
	}()
	testcaddy.Eventually(t, "the base line", func() bool {
		now = lifeMeasure(s)
		return now.goroutines <= base.goroutines+slack && now.descriptors <= base.descriptors+slack
	})
}

// lifeMeasure is slow on purpose: it makes the server do something, too.
func lifeMeasure(s *testcaddy.Server) lifeBase {
	time.Sleep(200 * time.Millisecond)
	return lifeBase{s.Goroutines(), s.Descriptors()}
}

func TestReloadsLeaveNoGoroutinesAndDescriptors(t *testing.T) {
	t.Parallel()
	config := func(i int) testcaddy.Config {
		c := lifeApp(strconv.Itoa(i), "key k"+strconv.Itoa(i%3), "tasks 3")
		c.Sites += "https://localhost:$HTTPS {\n\ttls internal\n\tlog\n\tencode\n\tgin hello {\n\t\tconfig {\n\t\t\tworkers 4\n\t\t}\n\t}\n}\n"
		return c
	}
	s := testcaddy.Start(t, config(0))
	for range 5 {
		lifeReload(t, s, config(0))
	}
	base := lifeSettled(t, s, 5)
	for i := 1; i <= 50; i++ {
		conn := lifeDial(t, s, "/ws")
		value := strconv.Itoa(i - 1)
		lifeMustEcho(t, conn, value)
		lifeReload(t, s, config(i))
		lifeMustEcho(t, conn, value)
		_ = conn.Close()
		client := testcaddy.Client(t, "h2")
		lifeGet(t, client, s.HTTPS("/ping"))
		client.CloseIdleConnections()
	}
	base.restored(t, s)
}
