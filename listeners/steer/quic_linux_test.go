package steer

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
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

// serveHTTP3 answers requests with a text until the end of the test.
func serveHTTP3(t testing.TB, config *tls.Config, conn net.PacketConn, generator quic.ConnectionIDGenerator, text string) {
	t.Helper()
	transport := &quic.Transport{Conn: conn, ConnectionIDGenerator: generator}
	listener, err := transport.ListenEarly(http3.ConfigureTLSConfig(config), &quic.Config{Allow0RTT: true})
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, text)
	})}
	go func() { _ = server.ServeListener(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close()
		_ = transport.Close()
	})
}

// post sends a body that cannot be sent twice, and returns the answer.
func post(client http.RoundTripper, address string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address, io.MultiReader(strings.NewReader("from ")))
	if err != nil {
		return "", err
	}
	res, err := client.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// Requests over connections that last, and over new ones, while new ones go to
// one socket and the other in turn.
func TestSwitchingUnderLoadLosesNoRequest(t *testing.T) {
	t.Parallel()
	server, client := testcaddy.Certificate(t)
	first := udpSocket(t, "127.0.0.1:0", false)
	at := first.LocalAddr().String()
	serveHTTP3(t, server, first, ConnectionIDs(0), "first")
	group := Packets(first, 0)
	if err := group.Keep(); err != nil {
		t.Fatal(err)
	}
	serveHTTP3(t, server, udpSocket(t, at, true), ConnectionIDs(1), "second")

	stop := make(chan struct{})
	var load sync.WaitGroup
	var lasting, fresh atomic.Int64
	var reached [2]atomic.Int64 // by new connections
	repeat := func(request func() error) {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := request(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 4 {
		transport := &http3.Transport{TLSClientConfig: client}
		t.Cleanup(func() { _ = transport.Close() })
		home, err := post(transport, at)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // requests at the same time
			repeat(func() error {
				answer, err := post(transport, at)
				if err == nil && answer != home {
					err = fmt.Errorf("a connection %s got an answer %s", home, answer)
				}
				lasting.Add(1)
				return err
			})
		}
		repeat(func() error {
			transport := &http3.Transport{TLSClientConfig: client}
			defer func() { _ = transport.Close() }()
			answer, err := post(transport, at)
			if answer == "from second" {
				reached[1].Add(1)
			} else {
				reached[0].Add(1)
			}
			fresh.Add(1)
			return err
		})
	}
	for i := range 50 {
		seen := fresh.Load()
		switchTo := group.Give
		if i%2 != 0 {
			switchTo = group.Keep
		}
		if err := switchTo(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); fresh.Load() < seen+2; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no new connections")
			}
		}
	}
	close(stop)
	load.Wait()
	t.Logf("%d requests over connections that last, %d over new ones, of which %d reached the first socket and %d the second",
		lasting.Load(), fresh.Load(), reached[0].Load(), reached[1].Load())
	if reached[0].Load() == 0 || reached[1].Load() == 0 {
		t.Error("new connections reached only one socket")
	}
}

func BenchmarkRequest(b *testing.B) {
	server, client := testcaddy.Certificate(b)
	for name, generator := range map[string]quic.ConnectionIDGenerator{"default": nil, "marked": ConnectionIDs(1)} {
		b.Run(name, func(b *testing.B) {
			conn, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = conn.Close() })
			serveHTTP3(b, server, conn, generator, "")
			transport := &http3.Transport{TLSClientConfig: client}
			defer func() { _ = transport.Close() }()
			for b.Loop() {
				if _, err := post(transport, conn.LocalAddr().String()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
