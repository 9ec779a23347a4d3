package seamless

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
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/listeners/steer"
)

// quicProcess serves HTTP/3 on a socket of its own, as each of two processes
// does.
type quicProcess struct {
	group  *steer.PacketGroup
	socket *quicSocket
	conns  *http3Conns
}

// newQUICProcess calls came, if it is not nil, when it looks at the first packet of
// a connection.
func newQUICProcess(t *testing.T, config *tls.Config, address string, number int, came func()) *quicProcess {
	t.Helper()
	var share net.ListenConfig
	if number > 0 {
		share.Control = func(_, _ string, raw syscall.RawConn) error {
			var set error
			err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
			if err == nil {
				err = set
			}
			return err
		}
	}
	conn, err := share.ListenPacket(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	m := steer.Mark(number % 2)
	p := &quicProcess{group: steer.Packets(conn.(*net.UDPConn), m), socket: &quicSocket{conn: conn}}
	p.socket.transport = &quic.Transport{
		Conn: conn, ConnectionIDGenerator: steer.ConnectionIDs(m),
		ConnContext: func(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
			if came != nil {
				came()
			}
			p.socket.live.Add(1)
			context.AfterFunc(ctx, func() { p.socket.live.Add(-1) })
			return ctx, nil
		},
	}
	p.socket.listener, err = p.socket.transport.ListenEarly(http3.ConfigureTLSConfig(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	p.conns = &http3Conns{conns: make(map[*http3Conn]struct{}), handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, number)
	})}
	go func() {
		for conn, err := p.socket.listener.Accept(context.Background()); err == nil; conn, err = p.socket.listener.Accept(context.Background()) {
			go p.conns.serve(conn)
		}
	}()
	return p
}

// leave ends the process' connections.
func (p *quicProcess) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { _ = p.conns.Shutdown(ctx) }()
	p.socket.drain(ctx)
}

// Each process leaves when its successor has new connections, under requests
// over connections that last and over new ones.
func TestHTTP3SuccessorsLoseNoRequest(t *testing.T) {
	t.Parallel()
	server, client := testcaddy.Certificate(t)
	now := newQUICProcess(t, server, "127.0.0.1:0", 0, nil)
	at := now.socket.conn.LocalAddr().String()
	stop := make(chan struct{})
	var load sync.WaitGroup
	var requests atomic.Int64
	for i := range 6 {
		load.Go(func() {
			transport := &http3.Transport{TLSClientConfig: client}
			defer func() { _ = transport.Close() }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := quicPost(transport, at); err != nil {
					t.Error(err)
				}
				requests.Add(1)
				if i%3 == 0 {
					_ = transport.Close()
					transport = &http3.Transport{TLSClientConfig: client}
				}
			}
		})
	}
	for i := range 5 {
		if err := now.group.Keep(); err != nil {
			t.Fatal(err)
		}
		next := newQUICProcess(t, server, at, i+1, nil)
		if err := now.group.Give(); err != nil {
			t.Fatal(err)
		}
		now.leave()
		now = next
	}
	close(stop)
	load.Wait()
	now.leave()
	t.Logf("%d requests", requests.Load())
}

// A process leaves while the first packet of a connection lies in a queue of its
// own: the client is served, not refused.
func TestHTTP3ConnectionThatCameBeforeTheEndIsServed(t *testing.T) {
	t.Parallel()
	server, client := testcaddy.Certificate(t)
	came, proceed := make(chan struct{}), make(chan struct{})
	p := newQUICProcess(t, server, "127.0.0.1:0", 0, sync.OnceFunc(func() {
		close(came)
		<-proceed
	}))
	transport := &http3.Transport{TLSClientConfig: client}
	defer func() { _ = transport.Close() }()
	posted := make(chan error, 1)
	go func() { posted <- quicPost(transport, p.socket.conn.LocalAddr().String()) }()
	<-came
	left := make(chan struct{})
	go func() {
		defer close(left)
		p.leave()
	}()
	time.Sleep(20 * time.Millisecond) // it looks for connections meanwhile
	close(proceed)
	if err := <-posted; err != nil {
		t.Error(err)
	}
	_ = transport.Close()
	<-left
}

func quicPost(client http.RoundTripper, address string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address, strings.NewReader("body"))
	if err != nil {
		return err
	}
	res, err := client.RoundTrip(r)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
