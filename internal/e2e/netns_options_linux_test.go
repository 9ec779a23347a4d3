package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestDeviceAdmitsWhatComesThroughIt(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	binds := []string{"ipv4/?device=eth0", "ipv6/?device=eth0", "dual/?device=eth0", "ipv4/192.0.2.2?device=eth0"}
	s := host.start(testcaddy.Config{Sites: netSites(binds...)})
	accepts := [][]string{
		{"192.0.2.1", "192.0.2.2"},
		{"2001:db8::1", "2001:db8::2", "fe80::a%eth0"},
		{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "fe80::a%eth0"},
		{"192.0.2.2"},
	}
	for i, bind := range binds {
		port := 8001 + i
		for _, addr := range netCards {
			if slices.Contains(accepts[i], addr) {
				client.wantServed(addr, port, bind)
			} else {
				client.wantRefused(addr, port)
			}
		}
		for _, addr := range slices.Concat(netLoop, netCards) {
			if slices.Contains(accepts[i], addr) && admits(t, host, "eth0", addr) {
				host.wantServed(addr, port, bind)
			} else {
				host.wantRefused(addr, port)
			}
		}
		if device := listeningAt(t, s, unix.SOCK_STREAM, port).device(t); device != "eth0" {
			t.Errorf("%s: device is %q", bind, device)
		}
	}
}

// admits reports whether the kernel lets a host connect to an address of its
// own where somebody listens on a device. It does for the device's addresses
// (measured, Linux 6.18), though the packets go through lo: the route counts.
func admits(t *testing.T, h *netHost, device, addr string) bool {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var err error
		if controlErr := conn.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
		}); controlErr != nil {
			return controlErr
		}
		return err
	}}
	var plain net.Listener
	var err error
	h.do(func() { plain, err = config.Listen(t.Context(), "tcp", ":0") })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	conn, err := h.dial("tcp", addr, int(addrPort(plain.Addr()).Port()))
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// netOption is an option of a socket, as getsockopt tells it.
type netOption struct {
	level, name, want int
}

// wantOptions checks the options of a socket.
func wantOptions(t *testing.T, what string, l liveSocket, options []netOption) {
	t.Helper()
	for _, o := range options {
		if got := l.option(t, o.level, o.name); got != o.want {
			t.Errorf("%s: option %d of level %d is %d, not %d", what, o.name, o.level, got, o.want)
		}
	}
}

var (
	isMPTCP = netOption{unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_MPTCP}
	isTCP   = netOption{unix.SOL_SOCKET, unix.SO_PROTOCOL, unix.IPPROTO_TCP}
)

func TestOptionsReachTheSocket(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	host.sysctl("net/core/somaxconn", "300")
	cases := []struct {
		bind   string
		logged map[string]string // what the log says; empty for what it must not have
		socket []netOption
	}{
		{"ipv4/", map[string]string{
			"backlog": "300", "mptcp": "on", "share": "", "tos": "", "mark": "", "freebind": "", "transparent": "",
			"user_timeout": "", "defer_accept": "", "fastopen": "", "device": "",
		}, []netOption{isMPTCP, {unix.SOL_SOCKET, unix.SO_REUSEPORT, 0}, {unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}},
		{"ipv4/?backlog=7", map[string]string{"backlog": "7"}, []netOption{isMPTCP}},
		{"ipv6/?backlog=7&mptcp=off", map[string]string{"backlog": "7", "mptcp": ""}, []netOption{isTCP}},
		{"dual/?backlog=100000", map[string]string{"backlog": "300"}, nil}, // capped by net.core.somaxconn
		{"ipv4/?mptcp=off", map[string]string{"mptcp": ""}, []netOption{isTCP}},
		{"ipv4/?mptcp", map[string]string{"mptcp": "on"}, []netOption{isMPTCP}},
		{"ipv4/?freebind", map[string]string{"freebind": "on"}, []netOption{{unix.IPPROTO_IP, unix.IP_FREEBIND, 1}}},
		{"ipv6/?freebind", map[string]string{"freebind": "on"}, []netOption{{unix.IPPROTO_IP, unix.IP_FREEBIND, 1}}},
		{"ipv4/?transparent", map[string]string{"transparent": "on"}, []netOption{{unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1}}},
		{"ipv6/?transparent", map[string]string{"transparent": "on"}, []netOption{{unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1}}},
		{"ipv4/?mark=0x10", map[string]string{"mark": "16"}, []netOption{{unix.SOL_SOCKET, unix.SO_MARK, 16}}},
		{"ipv6/?mark=4294967295", map[string]string{"mark": "4294967295"}, []netOption{{unix.SOL_SOCKET, unix.SO_MARK, -1}}},
		{"ipv4/?share", map[string]string{"share": "on"}, []netOption{{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}},
		{"ipv4/?rcvbuf=64KiB", map[string]string{"rcvbuf": "131072"}, []netOption{{unix.SOL_SOCKET, unix.SO_RCVBUF, 2 * 64 << 10}}}, // Linux doubles them
		{"ipv6/?sndbuf=96KiB", map[string]string{"sndbuf": "196608"}, []netOption{{unix.SOL_SOCKET, unix.SO_SNDBUF, 2 * 96 << 10}}},
		{"ipv4/?tos=0xb8", map[string]string{"tos": "184"}, []netOption{{unix.IPPROTO_IP, unix.IP_TOS, 0xb8}, isMPTCP}},
		{"ipv6/?tos=0xb8", map[string]string{"tos": "184"}, []netOption{{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xb8}, isTCP}}, // MPTCP refuses it
		{"dual/?tos=0xb8", map[string]string{"tos": "184"}, []netOption{
			{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xb8}, {unix.IPPROTO_IP, unix.IP_TOS, 0xb8}, isTCP,
		}},
		{"ipv4/?user_timeout=30s", map[string]string{"user_timeout": "30s", "mptcp": ""}, []netOption{
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 30000}, isTCP,
		}},
		{"dual/?user_timeout=1500ms", map[string]string{"user_timeout": "1.5s"}, []netOption{
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1500}, isTCP,
		}},
		{"ipv4/?defer_accept=7s", map[string]string{"defer_accept": "7s"}, []netOption{{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 7}}}, // 1+2+4: the kernel counts retransmissions
		{"ipv4/?fastopen", map[string]string{"fastopen": "256"}, []netOption{{unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 256}}},
		{"ipv6/?fastopen=99", map[string]string{"fastopen": "99"}, []netOption{{unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 99}}},
		{"ipv4/?device=eth0", map[string]string{"device": "eth0"}, nil},
		{"dual/?backlog=9&freebind&mark=3&tos=8&transparent&user_timeout=2s&rcvbuf=8KiB", map[string]string{
			"backlog": "9", "freebind": "on", "mark": "3", "tos": "8", "transparent": "on", "user_timeout": "2s", "rcvbuf": "16384",
		}, []netOption{isTCP, {unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1}, {unix.SOL_SOCKET, unix.SO_MARK, 3}}},
		{"ipv4/?use=edge", map[string]string{"backlog": "11", "user_timeout": "9s"}, []netOption{{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 9000}}},
		{"ipv4/?backlog=12&use=edge", map[string]string{"backlog": "12", "user_timeout": "9s"}, nil}, // the address goes before the set
	}
	binds := make([]string, len(cases))
	for i, c := range cases {
		binds[i] = c.bind
	}
	s := host.start(testcaddy.Config{
		Global: "gin {\n\tlistener edge {\n\t\tbacklog 11\n\t\tuser_timeout 9s\n\t}\n}",
		Sites:  netSites(binds...),
	})
	queues := netQueues(t, host)
	for i, c := range cases {
		port := 8001 + i
		logged := loggedOptions(t, s, port)
		for name, want := range c.logged {
			if got, ok := logged[name]; ok != (want != "") || ok && got != want {
				t.Errorf("%s: %s is logged as %v, not %q", c.bind, name, got, want)
			}
		}
		if queue := queues[port]; queue == "" || queue != logged["backlog"] {
			t.Errorf("%s: ss shows a queue of %q, the log one of %v", c.bind, queue, logged["backlog"])
		}
		wantOptions(t, c.bind, listeningAt(t, s, unix.SOCK_STREAM, port), c.socket)
		addr := "192.0.2.1"
		if strings.HasPrefix(c.bind, "ipv6/") {
			addr = "2001:db8::1"
		}
		client.wantServed(addr, port, c.bind)
	}
}

// loggedOptions returns what the log says about the options of the socket at
// a port.
func loggedOptions(t *testing.T, s *testcaddy.Server, port int) map[string]any {
	t.Helper()
	suffix := fmt.Sprintf(":%d", port)
	for _, e := range s.Log() {
		address, _ := e.Fields["address"].(string)
		if e.Logger == "gin.listeners" && e.Msg == "listening" && strings.HasSuffix(address, suffix) {
			options, _ := e.Fields["options"].(map[string]any)
			return options
		}
	}
	t.Fatalf("port %d is not in the log", port)
	return nil
}

// netQueues returns the lengths of the accept queues by port, as ss shows
// them.
func netQueues(t *testing.T, h *netHost) map[int]string {
	t.Helper()
	queues := make(map[int]string)
	for line := range strings.Lines(h.ss("-Hlnt")) {
		field := strings.Fields(line) // state, waiting, limit, address
		if len(field) < 4 {
			continue
		}
		var port int
		if _, err := fmt.Sscanf(field[3][strings.LastIndexByte(field[3], ':')+1:], "%d", &port); err == nil {
			queues[port] = field[2]
		}
	}
	return queues
}

func TestOptionsReachTheConnections(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	binds := []string{
		"ipv4/?keepalive=42s&tos=0x48&sndbuf=96KiB&user_timeout=30s", "ipv6/?keepalive=43s&tos=0x48",
		"dual/?keepalive=44s&tos=0x48", "ipv4/?keepalive=off",
	}
	s := host.start(testcaddy.Config{Sites: netSites(binds...)})
	tos4, tos6 := netOption{unix.IPPROTO_IP, unix.IP_TOS, 0x48}, netOption{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0x48}
	idle := func(seconds int) netOption { return netOption{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds} }
	probes := func(n int) netOption { return netOption{unix.SOL_SOCKET, unix.SO_KEEPALIVE, n} }
	for _, c := range []struct {
		addr    string
		port    int
		options []netOption
	}{
		{"192.0.2.1", 8001, []netOption{
			probes(1), idle(42), tos4, {unix.SOL_SOCKET, unix.SO_SNDBUF, 2 * 96 << 10}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 30000},
		}},
		{"2001:db8::1", 8002, []netOption{probes(1), idle(43), tos6}},
		{"192.0.2.1", 8003, []netOption{probes(1), idle(44), tos4}},
		{"2001:db8::1", 8003, []netOption{probes(1), idle(44), tos6}},
		{"192.0.2.1", 8004, []netOption{probes(0)}},
	} {
		conn, err := client.dial("tcp", c.addr, c.port)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: site.example\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, socket := range socketsOf(t, s) {
			if !socket.peer.IsValid() || socket.peer.Port() != addrPort(conn.LocalAddr()).Port() {
				continue
			}
			found = true
			wantOptions(t, binds[c.port-8001]+" from "+c.addr, socket, c.options)
		}
		if !found {
			t.Errorf("%s port %d: the server has no such connection", c.addr, c.port)
		}
	}
}
