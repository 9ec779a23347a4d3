package listeners

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// listenHTTP3 opens what Caddy opens for HTTP/3 at an address.
func listenHTTP3(t *testing.T, address string) net.PacketConn {
	t.Helper()
	na, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	na.Network += "/udp"
	opened, err := na.Listen(context.Background(), 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	conn, ok := opened.(net.PacketConn)
	if !ok {
		t.Fatalf("Caddy cannot use a %T", opened)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestPacketsAreOfASocketThatQUICKnows(t *testing.T) {
	t.Parallel()
	const plain = "*net.UDPConn"
	shaped := plain
	if runtime.GOOS == "linux" {
		shaped = "*listeners.shapedConn" // embeds it
	}
	for address, want := range map[string]string{
		"ipv4/127.0.0.1:0": plain, "ipv6/[::1]:0": plain, "dual/:0": plain, "ipv4/:0": plain,
		"ipv4/127.0.0.1?share:0": plain, "ipv4/127.0.0.1?tos=8:0": shaped, "dual/?rcvbuf=64KiB:0": shaped,
	} {
		conn := listenHTTP3(t, address)
		for { // as Caddy does
			wrapped, ok := conn.(interface{ Unwrap() net.PacketConn })
			if !ok {
				break
			}
			conn = wrapped.Unwrap()
		}
		if got := fmt.Sprintf("%T", conn); got != want {
			t.Errorf("%s: QUIC sees a %s", address, got)
		}
	}
}

func TestPacketsArriveAndAreForgottenAtClose(t *testing.T) {
	t.Parallel()
	conn := listenHTTP3(t, "ipv4/127.0.0.1:0")
	client, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	got := make([]byte, 10)
	n, from, err := conn.ReadFrom(got)
	if err != nil || string(got[:n]) != "hello" || from.String() != client.LocalAddr().String() {
		t.Errorf("got %q from %v, %v", got[:n], from, err)
	}
	known := func() bool {
		sockets.mu.Lock()
		defer sockets.mu.Unlock()
		_, ok := sockets.packets[conn.(*packetConn)]
		return ok
	}
	if !known() {
		t.Error("the pool does not know of it")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if known() {
		t.Error("the pool knows of it after Close")
	}
}

func TestSpanningCoversItsTargetsOnly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addrs  []string
		want   string
		v6only bool
	}{
		{[]string{"192.0.2.1", "192.0.2.2"}, "0.0.0.0:443", false},
		{[]string{"2001:db8::1", "fe80::1%eth0"}, "[::]:443", true},
		{[]string{"192.0.2.1", "2001:db8::1"}, "[::]:443", false},
	} {
		var targets []Target
		var ips []netip.Addr
		for _, text := range c.addrs {
			ip := netip.MustParseAddr(text)
			ips = append(ips, ip)
			targets = append(targets, Target{Network: "udp", Addr: netip.AddrPortFrom(ip, 443), V6Only: ip.Is6()})
		}
		wildcard, only := spanning(targets)
		if wildcard.String() != c.want || wildcard.V6Only != c.v6only || wildcard.Network != "udp" || !slices.Equal(only, ips) {
			t.Errorf("%v: got %v v6only %v of %v", c.addrs, wildcard, wildcard.V6Only, only)
		}
	}
}
