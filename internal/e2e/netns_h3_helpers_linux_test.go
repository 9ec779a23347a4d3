package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// netSecureSite is a site of HTTPS, by all protocols, that answers its bind
// line.
func netSecureSite(port int, bind string) string {
	return fmt.Sprintf("https://site.example:%d {\n\tbind %s\n\ttls internal\n\trespond %q\n}\n", port, bind, bind)
}

// netSecureSites are sites at ports from 9001 on.
func netSecureSites(binds ...string) testcaddy.Config {
	config := testcaddy.Config{Global: "auto_https disable_redirects"}
	for i, bind := range binds {
		config.Sites += netSecureSite(9001+i, bind)
	}
	return config
}

// awaitCertificate waits until a handshake succeeds: certificates are made in
// the background. It returns the header of an answer over TCP.
func (h *netHost) awaitCertificate(ip string, port int) (header http.Header) {
	h.t.Helper()
	testcaddy.Eventually(h.t, "a certificate", func() bool {
		conn, err := h.dial("tcp", ip, port)
		if err != nil {
			h.t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		secure := tls.Client(conn, netTLS())
		_ = secure.SetDeadline(time.Now().Add(time.Minute))
		if secure.Handshake() != nil {
			return false
		}
		_, _ = io.WriteString(secure, "GET / HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(secure), nil)
		if err != nil {
			h.t.Fatal(err)
		}
		header = resp.Header
		return resp.Body.Close() == nil
	})
	return header
}

func netTLS() *tls.Config {
	return &tls.Config{ServerName: "site.example", InsecureSkipVerify: true} //nolint:gosec // the CA is made by the server under test
}

// udp opens a UDP socket on the host.
func (h *netHost) udp() *net.UDPConn {
	h.t.Helper()
	var conn *net.UDPConn
	var err error
	h.do(func() { conn, err = net.ListenUDP("udp", nil) })
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// get3 makes a request over HTTP/3, through a socket of the host's, and
// returns the body.
func (h *netHost) get3(socket net.PacketConn, ip string, port int) (string, error) {
	h.t.Helper()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.zoned(ip), uint16(port)))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	quicTransport := &quic.Transport{Conn: socket}
	defer func() { _ = quicTransport.Close() }()
	transport := &http3.Transport{
		TLSClientConfig: netTLS(),
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quicTransport.DialEarly(ctx, to, tlsConfig, config)
		},
	}
	defer func() { _ = transport.Close() }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://site.example:%d/", port), nil)
	if err != nil {
		return "", err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// wantServed3 checks that a site answers over HTTP/3, with a body.
func (h *netHost) wantServed3(ip string, port int, body string) {
	h.t.Helper()
	if got, err := h.get3(h.udp(), ip, port); err != nil || got != body {
		h.t.Errorf("HTTP/3 to %s port %d: got %q, %v, not %q", ip, port, got, err, body)
	}
}

// quicProbe is a packet of a version that does not exist, which each server
// of QUIC answers at once with those that it knows (RFC 9000, section 6).
func quicProbe() []byte {
	packet := make([]byte, 1200)
	packet[0] = 0xc0
	binary.BigEndian.PutUint32(packet[1:], 0x1a2a3a4a)
	packet[5], packet[14] = 8, 8 // lengths of the connection IDs
	copy(packet[6:], "receiver")
	copy(packet[15:], "somebody")
	return packet
}

// wantQUIC checks which addresses answer QUIC. The sockets are connected: an
// answer from another address than the one that was asked does not count.
// The packets to the silent addresses are sent first; where one socket takes
// both, it has seen them when the answers to the others are here.
func (h *netHost) wantQUIC(port int, addrs, answering []string) {
	h.t.Helper()
	open := func(addr string) net.Conn {
		conn, err := h.dial("udp", addr, port)
		if err != nil {
			h.t.Fatal(err)
		}
		_, _ = conn.Write(quicProbe())
		return conn
	}
	silent := make(map[string]net.Conn)
	for _, addr := range addrs {
		if !slices.Contains(answering, addr) {
			silent[addr] = open(addr)
			defer func() { _ = silent[addr].Close() }()
		}
	}
	for _, addr := range addrs {
		if !slices.Contains(answering, addr) {
			continue
		}
		conn := open(addr)
		defer func() { _ = conn.Close() }()
		answered := false
		for range 40 {
			if answered = isVersionNegotiation(conn, 500*time.Millisecond); answered {
				break
			}
			_, _ = conn.Write(quicProbe())
		}
		if !answered {
			h.t.Errorf("QUIC: no answer from %s port %d", addr, port)
		}
	}
	until := time.Now().Add(50 * time.Millisecond)
	for addr, conn := range silent {
		if isVersionNegotiation(conn, time.Until(until)) {
			h.t.Errorf("QUIC: an answer from %s port %d", addr, port)
		}
	}
}

func isVersionNegotiation(conn net.Conn, patience time.Duration) bool {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	packet := make([]byte, 1500)
	n, err := conn.Read(packet)
	return err == nil && n > 5 && packet[0]&0x80 != 0 && binary.BigEndian.Uint32(packet[1:]) == 0
}

// udpPorts returns the addresses of a server's UDP sockets, sorted.
func udpPorts(t testing.TB, s *testcaddy.Server) string {
	t.Helper()
	var texts []string
	for _, e := range s.Log() {
		if address, ok := e.Fields["address"].(string); ok && e.Logger == "gin.listeners" && strings.HasPrefix(address, "udp/") {
			texts = append(texts, address)
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

// tosReader is a UDP socket that keeps the differentiated services of the
// packets it receives: what tos sets, without the two bits that QUIC itself
// uses for congestion.
type tosReader struct {
	net.PacketConn
	udp *net.UDPConn

	mu   sync.Mutex
	seen map[int]struct{}
}

func newTOSReader(t testing.TB, conn *net.UDPConn) *tosReader {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var err4, err6 error
	if err := raw.Control(func(fd uintptr) {
		err4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
		err6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
	}); err != nil || err4 != nil || err6 != nil {
		t.Fatal(err, err4, err6)
	}
	return &tosReader{PacketConn: conn, udp: conn, seen: make(map[int]struct{})}
}

// ReadFrom implements net.PacketConn.
func (r *tosReader) ReadFrom(p []byte) (int, net.Addr, error) {
	oob := make([]byte, 128)
	n, oobn, _, addr, err := r.udp.ReadMsgUDP(p, oob)
	if err != nil {
		return n, addr, err
	}
	messages, _ := unix.ParseSocketControlMessage(oob[:oobn])
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range messages {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_TOS || m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_TCLASS {
			r.seen[int(m.Data[0])>>2] = struct{}{}
		}
	}
	return n, addr, nil
}

// classes returns what was seen.
func (r *tosReader) classes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.seen))
}
