package listeners

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// benchServer serves "ok" on a network address as Caddy opens it.
func benchServer(b *testing.B, address string) net.Addr {
	b.Helper()
	na, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		b.Fatal(err)
	}
	// what caddyhttp sets by default
	ln, err := na.Listen(context.Background(), 0, net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true}})
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	})}
	go func() { _ = server.Serve(ln.(net.Listener)) }()
	b.Cleanup(func() { _ = server.Close() })
	return ln.(net.Listener).Addr()
}

// benchClient is a connection with its requests.
type benchClient struct {
	net.Conn
	r *bufio.Reader
}

func benchDial(b *testing.B, addr net.Addr) *benchClient {
	b.Helper()
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		b.Error(err)
		return nil
	}
	return &benchClient{conn, bufio.NewReader(conn)}
}

func (c *benchClient) get(b *testing.B) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		b.Error(err)
		return
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		b.Error(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
}

// connects makes n connections with one request each, by some clients at once.
func connects(b *testing.B, addr net.Addr, n int) {
	const clients = 8
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range n / clients {
				c := benchDial(b, addr)
				if c == nil {
					return
				}
				c.get(b)
				_ = c.Close()
			}
		})
	}
	wg.Wait()
}

// requests makes n requests over a number of connections.
func requests(b *testing.B, addr net.Addr, n, clients int) {
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			c := benchDial(b, addr)
			if c == nil {
				return
			}
			defer func() { _ = c.Close() }()
			for range n / clients {
				c.get(b)
			}
		})
	}
	wg.Wait()
}

// compare times two ways in turns, and reports both and the median ratio of
// their speeds: above 1, the first is faster.
func compare(b *testing.B, unit string, n int, first, second func()) {
	first()
	second()
	var took [2]time.Duration
	var ratios []float64
	b.ResetTimer()
	for i := range b.N {
		var turn [2]time.Duration
		for j := range 2 {
			k := (i + j) % 2 // neither is always the one after the other
			start := time.Now()
			[]func(){first, second}[k]()
			turn[k] = time.Since(start)
			took[k] += turn[k]
		}
		ratios = append(ratios, float64(turn[1])/float64(turn[0]))
	}
	slices.Sort(ratios)
	b.ReportMetric(float64(n*b.N)/took[0].Seconds(), unit+"/s")
	b.ReportMetric(float64(n*b.N)/took[1].Seconds(), "other-"+unit+"/s")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkNetworks compares the networks of this package with Caddy's own,
// and Unix sockets with TCP over loopback.
//
//	go test ./listeners -run - -bench Networks -benchtime 300x
func BenchmarkNetworks(b *testing.B) {
	dir := b.TempDir()
	address := map[string]net.Addr{}
	open := func(name, at string) { address[name] = benchServer(b, at) }
	open("ipv4", "ipv4/127.0.0.1:0")
	open("tcp4", "tcp4/127.0.0.1:0")
	open("unixsock", "unixsock/"+filepath.Join(dir, "ours"))
	open("unix", "unix/"+filepath.Join(dir, "stock"))
	for _, pair := range []string{"ipv4 tcp4", "unixsock unix", "unixsock ipv4"} {
		names := strings.Fields(pair)
		ours, other := address[names[0]], address[names[1]]
		title := names[0] + " beside " + names[1]
		b.Run(title+"/connections", func(b *testing.B) {
			const n = 400
			compare(b, "conns", n, func() { connects(b, ours, n) }, func() { connects(b, other, n) })
		})
		for _, clients := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/requests over %d", title, clients), func(b *testing.B) {
				const n = 1600
				compare(b, "requests", n, func() { requests(b, ours, n, clients) }, func() { requests(b, other, n, clients) })
			})
		}
	}
}
