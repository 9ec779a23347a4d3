package seamless

import (
	"net"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	_ "github.com/caddy-gin/caddy-gin/listeners"
)

func TestKeysOfAddresses(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{":80", "tcp/:80", true},
		{":80", ":81", false},
		{"ipv4/127.0.0.1:80", "ipv4/127.0.0.1?backlog=5:80", true},
		{"ipv4/127.0.0.1?backlog=5:80", "ipv4/127.0.0.1?backlog=6&keepalive=off:80", true},
		{"ipv4/127.0.0.1:80", "ipv6/[::1]:80", false},
		{"ipv6/[::1?backlog=5]:80", "ipv6/[::1]:80", true},
		{"unix//run/app.sock|0600", "unix//run/app.sock|0660", true},
		{"unixsock//run/app.sock?mkdir=0750|0600", "unixsock//run/app.sock|0660", true},
		// what makes it another socket
		{"ipv4/*?device=lo:80", "ipv4/*?device=eth0:80", false},
		{"ipv4/*:80", "ipv4/*?device=eth0:80", false},
		{"ipv4/*?device=lo&backlog=5:80", "ipv4/*?device=lo:80", true},
		{"ipv4/*?backlog=5&device=lo:80", "ipv4/*?device=lo&backlog=5:80", true},
		// where Caddy has no options
		{"unix//run/s?a", "unix//run/s?b", false},
	} {
		if same := key(t, tt.a) == key(t, tt.b); same != tt.same {
			t.Errorf("%s and %s: same is %v, want %v", tt.a, tt.b, same, tt.same)
		}
	}
}

func key(t *testing.T, address string) string {
	t.Helper()
	na, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	return keyOf(na, nil)
}

// fixedListener is a listener that is bound to addresses.
type fixedListener struct {
	net.Listener
	addrs []net.Addr
}

func (l fixedListener) Addr() net.Addr    { return l.addrs[0] }
func (l fixedListener) Addrs() []net.Addr { return l.addrs }

func TestCovers(t *testing.T) {
	addr := func(text string) net.Addr {
		addr, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		if ip4 := addr.IP.To4(); ip4 != nil {
			addr.IP = ip4 // as a socket has it
		}
		return addr
	}
	for _, tt := range []struct {
		listener, local string
		covers          bool
	}{
		{"0.0.0.0:80", "127.0.0.1:80", true},
		{"0.0.0.0:80", "127.0.0.1:81", false},
		{"0.0.0.0:80", "[::1]:80", false},
		{"[::]:80", "127.0.0.1:80", true},
		{"[::]:80", "[::1]:80", true},
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"127.0.0.1:80 [::1]:80", "[::1]:80", true},
	} {
		var ln fixedListener
		for _, text := range strings.Fields(tt.listener) {
			ln.addrs = append(ln.addrs, addr(text))
		}
		if got := covers(ln, addr(tt.local)); got != tt.covers {
			t.Errorf("%s covers %s: %v", tt.listener, tt.local, got)
		}
	}
	if at := (&net.UnixAddr{Name: "/run/a.sock", Net: "unix"}); covers(fixedListener{addrs: []net.Addr{at}}, addr("127.0.0.1:80")) {
		t.Error("a Unix socket covers an address of TCP")
	}
}
