//go:build unix

package seamless

import (
	"net"
	"net/http"
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
	const n = 640
	compare(b, n, "allocs-fixed/request", func() { benchRequests(b, conns[0], n) }, func() { benchRequests(b, conns[1], n) })
}
