package seamless

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	h3qlog "github.com/quic-go/quic-go/http3/qlog"
	"golang.org/x/time/rate"

	"github.com/caddy-gin/caddy-gin/listeners/steer"
)

// quicSocket takes the HTTP/3 connections of an address, across
// configurations.
//
// It is not Caddy's shared QUIC listener: that one decides by the TLS
// configuration of an earlier configuration as long as that runs, and does not
// tell which one decided over a connection.
type quicSocket struct {
	conn      net.PacketConn
	transport *quic.Transport
	listener  *quic.EarlyListener
	group     *steer.PacketGroup
	live      atomic.Int64 // connections and handshakes
	altSvc    []string     // the value of the header, constant
	users     int          // configurations; guarded by the registry's mutex
}

// originKey is the key of a context value of QUIC connections: an
// [atomic.Pointer] to the epoch that was current at the handshake.
type originKey struct{}

// open opens the QUIC socket of an address, unless it is open.
func (r *registry) open(ctx context.Context, at address) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.front(at.key)
	if f.quic == nil {
		socket, err := f.openQUIC(ctx, at)
		if err != nil {
			r.tidy(f)
			return err
		}
		f.quic = socket
	}
	f.quic.users++
	return nil
}

// release undoes one call of open. With the last, no new connection is
// accepted, and the others end after their requests.
func (r *registry) release(at address, grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.front(at.key)
	if f.quic.users--; f.quic.users > 0 {
		return
	}
	socket := f.quic
	f.quic = nil
	epochs := f.takeHTTP3()
	go func() {
		_ = socket.listener.Close()
		shutDownHTTP3(epochs, grace)
		_ = socket.transport.Close()
		_ = socket.conn.Close()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tidy(f)
	}()
}

func (f *front) openQUIC(ctx context.Context, at address) (*quicSocket, error) {
	na, err := packetAddress(at.na)
	if err != nil {
		return nil, err
	}
	opened, err := na.Listen(ctx, 0, net.ListenConfig{})
	if err != nil {
		return nil, fmt.Errorf("listening for HTTP/3 on %s: %w", at.na, err)
	}
	conn, ok := opened.(net.PacketConn)
	if !ok {
		return nil, fmt.Errorf("listening for HTTP/3 on %s: a %T is of no use", at.na, opened)
	}
	// as many handshakes a second as Caddy allows without a round trip more
	limit := rate.NewLimiter(1000, 1000)
	socket := &quicSocket{conn: conn}
	transport := &quic.Transport{
		Conn:                  bare(conn),
		ConnectionIDGenerator: steer.ConnectionIDs(mark),
		VerifySourceAddress:   func(net.Addr) bool { return !limit.Allow() },
		ConnContext: func(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
			socket.live.Add(1)
			context.AfterFunc(ctx, func() { socket.live.Add(-1) })
			return context.WithValue(ctx, originKey{}, new(atomic.Pointer[epoch])), nil
		},
	}
	socket.transport = transport
	listener, err := transport.ListenEarly(http3.ConfigureTLSConfig(f.tlsConfig()), f.quicConfig(true))
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("listening for HTTP/3 on %s: %w", at.na, err)
	}
	socket.listener = listener
	if conn, ok := transport.Conn.(steer.PacketConn); ok {
		socket.group = steer.Packets(conn, mark)
	}
	if addr, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		socket.altSvc = []string{fmt.Sprintf(`h3=":%d"; ma=2592000`, addr.Port)}
	}
	go f.acceptQUIC(listener)
	return socket, nil
}

// bare returns the socket under what Caddy and package listeners put around
// it: quic-go has faster ways for that.
func bare(conn net.PacketConn) net.PacketConn {
	for {
		wrapped, ok := conn.(interface{ Unwrap() net.PacketConn })
		if !ok {
			return conn
		}
		conn = wrapped.Unwrap()
	}
}

// quicConfig is Caddy's.
func (f *front) quicConfig(first bool) *quic.Config {
	config := &quic.Config{
		InitialPacketSize: 1200,
		Allow0RTT:         true,
		Tracer:            h3qlog.DefaultConnectionTracer,
	}
	if m := f.current.Load(); m != nil && m.wrapper.server.Allow0RTT != nil {
		config.Allow0RTT = *m.wrapper.server.Allow0RTT
	}
	if first {
		config.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) { return f.quicConfig(false), nil }
	}
	return config
}

// errNoServer is for handshakes before a configuration runs, or after.
var errNoServer = errors.New("no configuration has the address")

// tlsConfig returns a configuration that asks the current member's for each
// handshake, and keeps in mind which one that was.
func (f *front) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			m := f.awaitTLS(hello.Context())
			if m == nil {
				return nil, errNoServer
			}
			if origin, ok := hello.Context().Value(originKey{}).(*atomic.Pointer[epoch]); ok {
				origin.Store(m.epoch)
			}
			return m.tls.GetConfigForClient(hello)
		},
		GetEncryptedClientHelloKeys: func(hello *tls.ClientHelloInfo) ([]tls.EncryptedClientHelloKey, error) {
			m := f.current.Load()
			if m == nil || m.tls == nil || m.tls.GetEncryptedClientHelloKeys == nil {
				return nil, nil
			}
			return m.tls.GetEncryptedClientHelloKeys(hello)
		},
	}
}

// awaitTLS returns the current member, if it has HTTP/3. The socket is open
// some moments before the first one serves: handshakes wait then.
func (f *front) awaitTLS(ctx context.Context) *member {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for {
		if m := f.current.Load(); m != nil && m.tls != nil {
			return m
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Millisecond): // nothing announces it
		}
	}
}

// acceptQUIC serves connections until the listener is closed.
func (f *front) acceptQUIC(listener *quic.EarlyListener) {
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return
		}
		origin, ok := conn.Context().Value(originKey{}).(*atomic.Pointer[epoch])
		if !ok || origin.Load() == nil {
			_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
			continue
		}
		e := origin.Load()
		e.conns.Add(1)
		go func() {
			defer e.lost()
			e.http3().serve(conn)
		}()
	}
}

// packetAddress returns the address at which Caddy would open the UDP socket.
func packetAddress(na caddy.NetworkAddress) (caddy.NetworkAddress, error) {
	switch {
	case strings.HasPrefix(na.Network, "tcp"):
		na.Network = "udp" + na.Network[len("tcp"):]
	case carriesPackets[na.Network]:
		na.Network += "/udp"
	default:
		return na, fmt.Errorf("%s: seamless h3 cannot be used with network %s; it can with tcp, tcp4, tcp6, ipv4, ipv6, dual and systemd", na, na.Network)
	}
	return na, nil
}

// carriesPackets are the networks of package listeners that HTTP/3 works on.
var carriesPackets = map[string]bool{"ipv4": true, "ipv6": true, "dual": true, "systemd": true}
