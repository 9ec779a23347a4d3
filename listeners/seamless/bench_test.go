package seamless

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// benchPorts returns ports that were free a moment ago.
func benchPorts(b *testing.B, n int) []int {
	b.Helper()
	ports := make([]int, n)
	for i := range ports {
		ln, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = ln.Close() }()
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	return ports
}

// benchRequests makes n requests over some connections at once.
func benchRequests(b *testing.B, conns []net.Conn, n int) {
	var wg sync.WaitGroup
	for _, conn := range conns {
		wg.Go(func() {
			r := bufio.NewReader(conn)
			for range n / len(conns) {
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
}

// BenchmarkWrapper loads two servers of one Caddy in turns, one with the
// wrapper and one without, and reports the median ratio of their speeds (above
// 1, the wrapper is faster) and what a request allocates in all, client
// included.
//
//	go test ./listeners/seamless -run - -bench Wrapper -benchtime 300x
func BenchmarkWrapper(b *testing.B) {
	ports := benchPorts(b, 2)
	err := caddy.Load(fmt.Appendf(nil, `{"admin": {"disabled": true}, "logging": {"logs": {"default": {"level": "ERROR"}}}, "apps": {"http": {"servers": {
		"with": {"listen": ["ipv4/127.0.0.1:%d"], "listener_wrappers": [{"wrapper": "seamless"}], "routes": [{"handle": [{"handler": "static_response", "body": "ok"}]}]},
		"without": {"listen": ["ipv4/127.0.0.1:%d"], "routes": [{"handle": [{"handler": "static_response", "body": "ok"}]}]}
	}}}}`, ports[0], ports[1]), true)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = caddy.Stop() }()
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("requests over %d", clients), func(b *testing.B) {
			var conns [2][]net.Conn
			for i, port := range ports {
				for range clients {
					conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
					if err != nil {
						b.Fatal(err)
					}
					defer func() { _ = conn.Close() }()
					conns[i] = append(conns[i], conn)
				}
				benchRequests(b, conns[i], 1000)
			}
			const n = 640
			compare(b, n, "allocs-without/request", func() { benchRequests(b, conns[0], n) }, func() { benchRequests(b, conns[1], n) })
		})
	}
}

// compare does two things in turns that make as many requests each, and reports the
// median ratio of their speeds (above 1, the first is faster), and what a request
// allocates; other is the unit for the second.
func compare(b *testing.B, requests int, other string, do ...func()) {
	b.Helper()
	var ratios []float64
	var allocs [2]uint64
	for i := range b.N {
		var took [2]time.Duration
		for j := range 2 {
			k := (i + j) % 2 // neither is always the one after the other
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			do[k]()
			took[k] = time.Since(start)
			runtime.ReadMemStats(&after)
			allocs[k] += after.Mallocs - before.Mallocs
		}
		ratios = append(ratios, float64(took[1])/float64(took[0]))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(float64(allocs[0])/float64(requests*b.N), "allocs/request")
	b.ReportMetric(float64(allocs[1])/float64(requests*b.N), other)
	b.ReportMetric(0, "ns/op")
}
