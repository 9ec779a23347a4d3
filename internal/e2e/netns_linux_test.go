package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// netPair makes a server with two cards, and several addresses on the first,
// and a client at the other end of both.
func netPair(t testing.TB) (server, client *netHost) {
	t.Helper()
	server, client = newNetHost(t), newNetHost(t)
	for _, card := range []string{"eth0", "eth1"} {
		server.ip("link add " + card + " type veth peer name " + card + " netns " + client.name)
		for _, h := range []*netHost{server, client} {
			h.ip("link set " + card + " addrgenmode none")
		}
	}
	for _, h := range []*netHost{server, client} {
		h.ip("link set eth0 up", "link set eth1 up")
	}
	server.ip(
		"addr add 192.0.2.1/24 dev eth0", "addr add 192.0.2.2/24 dev eth0",
		"addr add 2001:db8::1/64 dev eth0 nodad", "addr add 2001:db8::2/64 dev eth0 nodad",
		"addr add fe80::a/64 dev eth0 nodad",
		"addr add 198.51.100.1/24 dev eth1", "addr add 2001:db8:1::1/64 dev eth1 nodad",
	)
	client.ip(
		"addr add 192.0.2.9/24 dev eth0", "addr add 2001:db8::9/64 dev eth0 nodad", "addr add fe80::9/64 dev eth0 nodad",
		"addr add 198.51.100.9/24 dev eth1", "addr add 2001:db8:1::9/64 dev eth1 nodad",
	)
	return server, client
}

// netNames are names for addresses of the server.
var netNames = []string{
	"127.0.0.1 localhost", "::1 localhost",
	"192.0.2.2 four.example", "2001:db8::2 six.example", "192.0.2.1 both.example", "2001:db8::1 both.example",
}

// The server's addresses: of lo, that only it reaches itself, and of the cards.
var (
	netLoop  = []string{"127.0.0.1", "127.0.0.2", "::1"}
	netCards = []string{"192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fe80::a%eth0"}
	netFour  = []string{"127.0.0.1", "127.0.0.2", "192.0.2.1", "192.0.2.2", "198.51.100.1"}
	netSix   = []string{"::1", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fe80::a%eth0"}
	netAll   = slices.Concat(netFour, netSix)
)

// netForm is a way to write an address, and those that it means.
type netForm struct {
	bind    string
	accepts []string
}

// netForms are all forms that there are.
var netForms = []netForm{
	{"ipv4/", netFour},
	{"ipv4/*", netFour},
	{"ipv4/0.0.0.0", netFour},
	{"ipv4/192.0.2.2", []string{"192.0.2.2"}},
	{"ipv4/127.0.0.1", []string{"127.0.0.1"}},
	{"ipv4/localhost", []string{"127.0.0.1"}},
	{"ipv4/four.example", []string{"192.0.2.2"}},
	{"ipv4/both.example", []string{"192.0.2.1"}},
	{"ipv4/lo", []string{"127.0.0.1"}},
	{"ipv4/eth0", []string{"192.0.2.1", "192.0.2.2"}},
	{"ipv6/", netSix},
	{"ipv6/*", netSix},
	{"ipv6/[::]", netSix},
	{"ipv6/[2001:db8::2]", []string{"2001:db8::2"}},
	{"ipv6/[::1]", []string{"::1"}},
	{"ipv6/localhost", []string{"::1"}},
	{"ipv6/six.example", []string{"2001:db8::2"}},
	{"ipv6/both.example", []string{"2001:db8::1"}},
	{"ipv6/lo", []string{"::1"}},
	{"ipv6/eth0", []string{"2001:db8::1", "2001:db8::2", "fe80::a%eth0"}},
	{"ipv6/[fe80::a%eth0]", []string{"fe80::a%eth0"}},
	{"dual/", netAll},
	{"dual/*", netAll},
	{"dual/[::]", netAll},
	{"dual/0.0.0.0", netAll},
	{"dual/localhost", []string{"127.0.0.1", "::1"}},
	{"dual/both.example", []string{"192.0.2.1", "2001:db8::1"}},
	{"dual/lo", []string{"127.0.0.1", "::1"}},
	{"dual/eth0", []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "fe80::a%eth0"}},
}

// netSite is a site of plain HTTP that answers its bind line.
func netSite(port int, bind string) string {
	return fmt.Sprintf("http://:%d {\n\tbind %s\n\trespond %q\n}\n", port, bind, bind)
}

// netSites are sites at ports from 8001 on.
func netSites(binds ...string) string {
	var b strings.Builder
	for i, bind := range binds {
		b.WriteString(netSite(8001+i, bind))
	}
	return b.String()
}

func TestEachFormAcceptsItsAddressesOnly(t *testing.T) {
	t.Parallel()
	for _, bindv6only := range []string{"0", "1"} {
		t.Run("bindv6only="+bindv6only, func(t *testing.T) {
			t.Parallel()
			host, client := netPair(t)
			host.sysctl("net/ipv6/bindv6only", bindv6only)
			var sites strings.Builder
			for i, form := range netForms {
				sites.WriteString(netSite(8001+i, form.bind))
			}
			host.start(testcaddy.Config{Sites: sites.String()}, netNames...)
			for i, form := range netForms {
				for _, from := range []struct {
					host  *netHost
					addrs []string
				}{{host, slices.Concat(netLoop, netCards)}, {client, netCards}} {
					for _, addr := range from.addrs {
						if slices.Contains(form.accepts, addr) {
							from.host.wantServed(addr, 8001+i, form.bind)
						} else {
							from.host.wantRefused(addr, 8001+i)
						}
						if t.Failed() {
							t.Fatalf("bind %s, from the server itself: %v", form.bind, from.host == host)
						}
					}
				}
			}
		})
	}
}

func TestSocketsAreLoggedAsTheKernelHasThem(t *testing.T) {
	t.Parallel()
	host, _ := netPair(t)
	binds := []string{"ipv4/", "ipv6/", "dual/", "dual/localhost", "ipv6/[fe80::a%eth0]"}
	s := host.start(testcaddy.Config{Sites: netSites(binds...)}, netNames...)
	var got []string
	for _, e := range s.Log() {
		if e.Logger == "gin.listeners" && e.Msg == "listening" {
			got = append(got, fmt.Sprint(e.Fields["asked"], " ", e.Fields["address"], " ", e.Fields["family"], " ", e.Fields["v6only"]))
		}
	}
	slices.Sort(got)
	want := []string{
		"dual/:8003 [::]:8003 IPv4 and IPv6 false",
		"dual/localhost:8004 127.0.0.1:8004 IPv4 false",
		"dual/localhost:8004 [::1]:8004 IPv6 true",
		"ipv4/:8001 0.0.0.0:8001 IPv4 false",
		"ipv6/:8002 [::]:8002 IPv6 true",
		"ipv6/[fe80::a%eth0]:8005 [fe80::a%eth0]:8005 IPv6 true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRefusedAddressesSayWhy(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	host.ip("link add bare0 type veth peer name bare1")
	config := testcaddy.Config{Sites: netSites("dual/eth0")}
	s := host.start(config, netNames...)
	before := s.Descriptors()
	for _, c := range []struct {
		bind  string
		words []string
	}{
		{"ipv4/[2001:db8::1]", []string{"2001:db8::1 is not an IPv4 address", "use ipv6/2001:db8::1"}},
		{"ipv6/192.0.2.1", []string{"192.0.2.1 is not an IPv6 address", "use ipv4/192.0.2.1"}},
		{"ipv6/[::ffff:192.0.2.1]", []string{"IPv4 address in IPv6 clothes", "use ipv4/192.0.2.1"}},
		{"dual/192.0.2.1", []string{"of one family only", "use ipv4/192.0.2.1"}},
		{"dual/four.example", []string{"host four.example has no IPv6 address, only 192.0.2.2"}},
		{"ipv4/six.example", []string{"host six.example has no IPv4 address, only 2001:db8::2"}},
		{"ipv4/bare0", []string{"interface bare0 has no IPv4 address", "retry=10s"}},
		{"dual/eth7", []string{`"eth7" is no interface (there are `, "lo", "eth0", "eth1", "no host name that resolves"}},
		{"ipv6/[fe80::a]", []string{"a link-local address needs its interface", "write fe80::a%eth0"}},
		{"ipv6/[fe80::a%eth7]", []string{"no interface is named eth7", "eth0", "eth1"}},
		{"ipv6/[fe80::a%eth1]", []string{"it is an address of eth0, not of eth1", "write fe80::a%eth0"}},
		{"ipv4/192.0.2.77", []string{
			"not an address of this host, whose IPv4 addresses are 127.0.0.1 (lo), 192.0.2.1 (eth0), 192.0.2.2 (eth0), 198.51.100.1 (eth1)",
			"freebind", "retry=10s",
		}},
		{"ipv6/[2001:db8::77]", []string{"not an address of this host", "2001:db8::1 (eth0)", "2001:db8:1::1 (eth1)", "freebind"}},
		{"ipv4/?device=eth7", []string{"option device=eth7", "no interface is named eth7"}},
	} {
		err := s.Reload(testcaddy.Config{Sites: netSites("dual/eth0", c.bind)})
		if err == nil {
			t.Errorf("%s was loaded", c.bind)
			continue
		}
		wantAllIn(t, c.bind, err.Error(), c.words...)
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %s", c.bind, err)
		}
	}
	for _, addr := range []string{"192.0.2.1", "2001:db8::2"} {
		client.wantServed(addr, 8001, "dual/eth0")
		client.wantRefused(addr, 8002)
	}
	testcaddy.Eventually(t, "no descriptor is left of the loads", func() bool { return s.Descriptors() <= before })
}

func TestWithoutIPv6(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	host.sysctl("net/ipv6/conf/all/disable_ipv6", "1")
	s := host.start(testcaddy.Config{Sites: netSites("ipv4/", "ipv4/eth0", "ipv4/localhost")})
	client.wantServed("192.0.2.1", 8001, "ipv4/")
	client.wantServed("192.0.2.2", 8002, "ipv4/eth0")
	host.wantServed("127.0.0.1", 8003, "ipv4/localhost")
	const off = "IPv6 is switched off (net.ipv6.conf.all.disable_ipv6=1); use ipv4/, or switch IPv6 on"
	for _, c := range []struct{ bind, words string }{
		{"ipv6/", off},
		{"dual/", off},
		{"ipv6/[::1]", off},
		{"ipv6/localhost", off},
		{"dual/localhost", off},
		{"ipv6/[2001:db8::1]", off},
		{"ipv6/eth0", "interface eth0 has no IPv6 address, only 192.0.2.1, 192.0.2.2"},
		{"dual/eth0", "interface eth0 has no IPv6 address, only 192.0.2.1, 192.0.2.2"},
	} {
		err := s.Reload(testcaddy.Config{Sites: netSites("ipv4/", "ipv4/eth0", c.bind)})
		if err == nil {
			t.Errorf("%s was loaded", c.bind)
			continue
		}
		wantAllIn(t, c.bind, err.Error(), c.words)
	}
	client.wantServed("192.0.2.1", 8001, "ipv4/")
	host.wantServed("127.0.0.1", 8003, "ipv4/localhost")

	// on one card only, or not any more
	host.sysctl("net/ipv6/conf/all/disable_ipv6", "0")
	host.sysctl("net/ipv6/conf/eth1/disable_ipv6", "1")
	if err := s.Reload(testcaddy.Config{Sites: netSites("ipv4/", "ipv4/eth0", "ipv4/localhost", "ipv6/", "dual/")}); err != nil {
		t.Fatal(err)
	}
	host.wantServed("::1", 8004, "ipv6/")
	host.wantServed("::1", 8005, "dual/")
	client.wantServed("192.0.2.1", 8005, "dual/")
}
