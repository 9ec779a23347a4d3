package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// netForms3 are the forms that differ for UDP: one socket stands for all
// addresses of a form, and takes no packets to others.
var netForms3 = []netForm{
	{"ipv4/", netFour},
	{"ipv4/192.0.2.2", []string{"192.0.2.2"}},
	{"ipv4/eth0", []string{"192.0.2.1", "192.0.2.2"}},
	{"ipv4/localhost", []string{"127.0.0.1"}},
	{"ipv6/", netSix},
	{"ipv6/[2001:db8::2]", []string{"2001:db8::2"}},
	{"ipv6/[fe80::a%eth0]", []string{"fe80::a%eth0"}},
	{"ipv6/eth0", []string{"2001:db8::1", "2001:db8::2", "fe80::a%eth0"}},
	{"ipv6/eth1", []string{"2001:db8:1::1"}},
	{"dual/", netAll},
	{"dual/localhost", []string{"127.0.0.1", "::1"}},
	{"dual/both.example", []string{"192.0.2.1", "2001:db8::1"}},
	{"dual/eth0", []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "fe80::a%eth0"}},
}

func TestEachFormAnswersHTTP3AtItsAddressesOnly(t *testing.T) {
	t.Parallel()
	for _, bindv6only := range []string{"0", "1"} {
		t.Run("bindv6only="+bindv6only, func(t *testing.T) {
			t.Parallel()
			host, client := netPair(t)
			host.sysctl("net/ipv6/bindv6only", bindv6only)
			binds := make([]string, len(netForms3))
			for i, form := range netForms3 {
				binds[i] = form.bind
			}
			s := host.start(netSecureSites(binds...), netNames...)
			host.awaitCertificate("192.0.2.1", 9001)
			for i, form := range netForms3 {
				host.wantQUIC(9001+i, slices.Concat(netLoop, netCards), form.accepts)
				client.wantQUIC(9001+i, netCards, form.accepts)
				for _, addr := range form.accepts {
					from := client
					if slices.Contains(netLoop, addr) {
						from = host
					}
					from.wantServed3(addr, 9001+i, form.bind)
				}
				if t.Failed() {
					t.Fatalf("bind %s", form.bind)
				}
				// what quic-go sets only on a socket of the kernel
				socket := listeningAt(t, s, unix.SOCK_DGRAM, 9001+i)
				level, ecn := unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS
				if socket.addr.Addr().Is4() {
					level, ecn = unix.IPPROTO_IP, unix.IP_RECVTOS
				}
				if socket.option(t, level, ecn) != 1 {
					t.Errorf("%s: quic-go does not see a UDP socket", form.bind)
				}
			}
			if strings.Contains(s.RawLog(), "Not a *net.UDPConn") {
				t.Error("quic-go does not see a UDP socket")
			}
		})
	}
}

func TestHTTP3ChangesAddressesByReload(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	s := host.start(netSecureSites("ipv4/"))
	client.awaitCertificate("192.0.2.2", 9001)
	for _, form := range []netForm{
		{"ipv4/eth0", []string{"192.0.2.1", "192.0.2.2"}},
		{"dual/", netAll},
		{"ipv4/192.0.2.2", []string{"192.0.2.2"}},
		{"dual/eth0", []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "fe80::a%eth0"}},
		{"ipv4/", netFour},
	} {
		if err := s.Reload(netSecureSites(form.bind)); err != nil {
			t.Fatalf("%s: %v", form.bind, err)
		}
		testcaddy.Eventually(t, "the socket before is closed", func() bool {
			return len(boundAt(t, s, unix.SOCK_DGRAM, 9001)) == 1
		})
		client.wantQUIC(9001, netCards, form.accepts)
		client.wantServed3("192.0.2.2", 9001, form.bind)
	}
}

func TestHTTP3FollowsThePortOfTCP(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	var taken net.Listener
	var err error
	host.do(func() { taken, err = net.Listen("tcp4", ":9001") })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	binds := []string{"ipv4/?fallback=9101-9105", "dual/eth0?fallback=9101-9105"}
	config := testcaddy.Config{Global: "auto_https disable_redirects", Sites: netSecureSite(9001, binds[0])}
	s := host.start(config)
	client.awaitCertificate("192.0.2.1", 9101)
	client.wantQUIC(9101, netCards, []string{"192.0.2.1", "192.0.2.2", "198.51.100.1"})
	client.wantQUIC(9001, netCards, nil)
	if got := udpPorts(t, s); got != "udp/0.0.0.0:9101" {
		t.Errorf("UDP is at %s", got)
	}
	// the second site's port is not taken, and it keeps it; the first keeps the other
	_ = taken.Close()
	config.Sites += netSecureSite(9002, binds[1])
	if err := s.Reload(config); err != nil {
		t.Fatal(err)
	}
	wantAt := func(addr string, port int, body string) {
		t.Helper()
		header := client.awaitCertificate(addr, port)
		wantAllIn(t, "Alt-Svc", header.Get("Alt-Svc"), fmt.Sprintf(`h3=":%d"`, port))
		client.wantServed3(addr, port, body)
	}
	wantAt("192.0.2.2", 9101, binds[0])
	wantAt("2001:db8::2", 9002, binds[1])
	if got := udpPorts(t, s); got != "udp/0.0.0.0:9101 udp/[::]:9002" {
		t.Errorf("UDP is at %s", got)
	}
}

func TestHTTP3FollowsAPortOfTheKernelsChoice(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	config := func(bind string) testcaddy.Config {
		return testcaddy.Config{Global: "auto_https disable_redirects", Sites: netSecureSite(0, bind)}
	}
	for _, bind := range []string{"ipv4/", "ipv6/eth0", "dual/eth0"} {
		s := host.start(config(bind))
		port := 0
		for _, socket := range socketsOf(t, s) {
			if socket.kind == unix.SOCK_DGRAM {
				port = int(socket.addr.Port())
			}
		}
		addr := "192.0.2.2"
		if strings.HasPrefix(bind, "ipv6/") {
			addr = "2001:db8::2"
		}
		client.awaitCertificate(addr, port)
		client.wantServed3(addr, port, bind)
		if err := s.Reload(config(bind)); err != nil {
			t.Fatalf("%s: %v", bind, err)
		}
		client.wantServed3(addr, port, bind)
	}
}

func TestHTTP3NeedsTheUDPPort(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	s := host.start(netSecureSites("ipv4/192.0.2.1"))
	client.awaitCertificate("192.0.2.1", 9001)
	var taken net.PacketConn
	var err error
	host.do(func() { taken, err = net.ListenPacket("udp4", ":9002") })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	err = s.Reload(netSecureSites("ipv4/192.0.2.1", "ipv4/eth0"))
	if err == nil {
		t.Fatal("a UDP port that is taken was bound")
	}
	wantAllIn(t, "error", err.Error(), "in use by", fmt.Sprintf("pid %d", unix.Getpid()), "0.0.0.0:9002")
	client.wantServed3("192.0.2.1", 9001, "ipv4/192.0.2.1")
	client.wantRefused("192.0.2.1", 9002)
}

func TestHTTP3HonoursTheOptions(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	binds := []string{
		"ipv4/?tos=0xb8&mark=5&transparent&backlog=9&user_timeout=30s",
		"ipv6/?tos=0xb8&freebind",
		"ipv4/192.0.2.60?freebind",
		"ipv4/?device=eth0",
		"dual/?tos=0xb8",
		"ipv4/?rcvbuf=64KiB&sndbuf=96KiB",
	}
	s := host.start(netSecureSites(binds...))
	host.ip("addr add 192.0.2.60/24 dev eth0")
	for i, options := range [][]netOption{
		{{unix.IPPROTO_IP, unix.IP_TOS, 0xb8}, {unix.SOL_SOCKET, unix.SO_MARK, 5}, {unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1}},
		{{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xb8}, {unix.IPPROTO_IP, unix.IP_FREEBIND, 1}},
		{{unix.IPPROTO_IP, unix.IP_FREEBIND, 1}},
		nil,
		{{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xb8}, {unix.IPPROTO_IP, unix.IP_TOS, 0xb8}},
		{{unix.SOL_SOCKET, unix.SO_RCVBUF, 2 * 64 << 10}, {unix.SOL_SOCKET, unix.SO_SNDBUF, 2 * 96 << 10}},
	} {
		wantOptions(t, binds[i], listeningAt(t, s, unix.SOCK_DGRAM, 9001+i), options)
	}
	client.awaitCertificate("192.0.2.1", 9001)
	client.wantServed3("192.0.2.60", 9003, binds[2])
	client.wantServed3("192.0.2.1", 9004, binds[3])
	client.wantQUIC(9004, netCards, []string{"192.0.2.1", "192.0.2.2"})
	host.wantQUIC(9004, []string{"127.0.0.1", "198.51.100.1"}, nil)

}

func TestHTTP3PacketsCarryTheTOS(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	binds := []string{"ipv4/?tos=0xb8", "dual/?tos=0xb8", "ipv6/?tos=0xb8"}
	host.start(netSecureSites(binds...))
	client.awaitCertificate("192.0.2.1", 9001)
	for i, addr := range []string{"192.0.2.1", "192.0.2.1", "2001:db8::1"} {
		socket := newTOSReader(t, client.udp())
		if got, err := client.get3(socket, addr, 9001+i); err != nil || got != binds[i] {
			t.Fatalf("%s: got %q, %v", binds[i], got, err)
		}
		if seen := socket.classes(); !slices.Equal(seen, []int{0xb8 >> 2}) {
			t.Errorf("%s: the packets' classes are %#x, not %#x", binds[i], seen, 0xb8>>2)
		}
	}
}
