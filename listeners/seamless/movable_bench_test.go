//go:build unix

package seamless

import (
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

// BenchmarkMovable loads two servers in turns, one whose connections can be
// moved and one whose cannot, and reports the median ratio of their speeds
// (above 1, the former is faster).
//
//	go test ./listeners/seamless -run - -bench Movable -benchtime 300x
func BenchmarkMovable(b *testing.B) {
	var conns [2][]net.Conn
	for i, wrap := range []func(net.Conn) net.Conn{makeMovable, func(conn net.Conn) net.Conn { return conn }} {
		s := moveNew(b, "a")
		s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("pong")) })
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer ln.Close()
		for range 8 {
			conns[i] = append(conns[i], moveDial(b, ln.Addr()).Conn)
			_ = conns[i][len(conns[i])-1].SetDeadline(time.Time{})
			conn, err := ln.Accept()
			if err != nil {
				b.Fatal(err)
			}
			s.inbox.put(wrap(conn))
		}
		benchRequests(b, conns[i], 1000)
	}
	var ratios []float64
	for i := range b.N {
		var took [2]time.Duration
		for j := range 2 {
			k := (i + j) % 2 // neither is always the one after the other
			start := time.Now()
			benchRequests(b, conns[k], 640)
			took[k] = time.Since(start)
		}
		ratios = append(ratios, float64(took[1])/float64(took[0]))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(0, "ns/op")
}
