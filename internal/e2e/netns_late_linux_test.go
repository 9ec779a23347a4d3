package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestFreebindServesWhenTheAddressComes(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	binds := []string{"ipv4/192.0.2.50?freebind", "ipv6/[2001:db8::50?freebind]"}
	s := host.start(testcaddy.Config{Sites: netSites(binds...)})
	before := listeningAt(t, s, unix.SOCK_STREAM, 8001).inode
	for range 2 { // an address that moves comes more than once
		host.ip("addr add 192.0.2.50/24 dev eth0", "addr add 2001:db8::50/64 dev eth0 nodad")
		client.wantServed("192.0.2.50", 8001, binds[0])
		client.wantServed("2001:db8::50", 8002, binds[1])
		host.wantRefused("192.0.2.1", 8001)
		host.wantRefused("2001:db8::1", 8002)
		host.ip("addr del 192.0.2.50/24 dev eth0", "addr del 2001:db8::50/64 dev eth0")
		if err := s.Reload(testcaddy.Config{Sites: netSites(binds...)}); err != nil {
			t.Fatalf("reload without the address: %v", err)
		}
	}
	if after := listeningAt(t, s, unix.SOCK_STREAM, 8001).inode; after != before {
		t.Errorf("socket %s became %s", before, after)
	}
}

func TestWithoutFreebindTheAddressMustBeThere(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	s := host.start(testcaddy.Config{Sites: netSites("ipv4/192.0.2.1")})
	before := listeningAt(t, s, unix.SOCK_STREAM, 8001).inode
	bad := testcaddy.Config{Sites: netSites("ipv4/192.0.2.1?backlog=7", "ipv4/192.0.2.50")}
	err := s.Reload(bad)
	if err == nil {
		t.Fatal("192.0.2.50 was bound")
	}
	wantAllIn(t, "error", err.Error(), "192.0.2.50:8002: not an address of this host", "127.0.0.1 (lo), 192.0.2.1 (eth0)", "freebind", "retry=10s")
	client.wantServed("192.0.2.1", 8001, "ipv4/192.0.2.1")
	if after := listeningAt(t, s, unix.SOCK_STREAM, 8001).inode; after != before {
		t.Errorf("socket %s became %s", before, after)
	}
	host.ip("addr add 192.0.2.50/24 dev eth0")
	if err := s.Reload(bad); err != nil {
		t.Fatalf("with the address: %v", err)
	}
	client.wantServed("192.0.2.50", 8002, "ipv4/192.0.2.50")
}

// reloadWaiting loads a configuration and calls back when it waits for an
// address.
func reloadWaiting(t *testing.T, s *testcaddy.Server, config testcaddy.Config, waiting func()) error {
	t.Helper()
	seen := len(s.Log())
	loaded := make(chan error, 1)
	go func() { loaded <- s.Reload(config) }()
	testcaddy.Eventually(t, "it waits", func() bool {
		for _, e := range s.Log()[seen:] {
			if e.Msg == "cannot listen yet, trying again" {
				return true
			}
		}
		return false
	})
	waiting()
	return <-loaded
}

func TestRetryWaitsForAnAddress(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	s := host.start(testcaddy.Config{Sites: netSites("ipv4/192.0.2.1")})
	for _, c := range []struct{ bind, card, addr string }{
		{"ipv4/192.0.2.51?retry=1m", "eth0", "192.0.2.51/24"},
		{"ipv6/[2001:db8::51?retry=1m]", "eth0", "2001:db8::51/64"},
		{"dual/eth2?retry=1m", "eth2", "203.0.113.1/24"},
	} {
		addr, _, _ := strings.Cut(c.addr, "/")
		err := reloadWaiting(t, s, testcaddy.Config{Sites: netSites("ipv4/192.0.2.1", c.bind)}, func() {
			client.wantServed("192.0.2.1", 8001, "ipv4/192.0.2.1") // the old configuration, meanwhile
			if c.card == "eth2" {
				// the card, its state and its addresses come one by one
				host.ip("link add eth2 type veth peer name eth3")
				host.ip("link set eth2 up", "link set eth3 up")
				host.ip("addr add 203.0.113.1/24 dev eth2")
				host.ip("addr add 2001:db8:2::1/64 dev eth2 nodad")
				return
			}
			host.ip("addr add " + c.addr + " dev " + c.card)
		})
		if err != nil {
			t.Errorf("%s: %v", c.bind, err)
			continue
		}
		host.wantServed(addr, 8002, c.bind)
	}
	host.wantServed("2001:db8:2::1", 8002, "dual/eth2?retry=1m")
}

func TestRetryEnds(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	s := host.start(testcaddy.Config{Sites: netSites("ipv4/192.0.2.1")})
	for bind, words := range map[string]string{
		"ipv4/192.0.2.51?retry=200ms":   "192.0.2.51:8002: not an address of this host",
		"ipv4/eth7?retry=200ms":         `"eth7" is no interface`,
		"ipv4/?device=eth7&retry=200ms": "no interface is named eth7",
	} {
		err := s.Reload(testcaddy.Config{Sites: netSites("ipv4/192.0.2.1", bind)})
		if err == nil {
			t.Errorf("%s was loaded", bind)
			continue
		}
		wantAllIn(t, bind, err.Error(), words, "(tried for 200ms)")
	}
	client.wantServed("192.0.2.1", 8001, "ipv4/192.0.2.1")
}

func TestRetryAtStart(t *testing.T) {
	t.Parallel()
	host, client := netPair(t)
	// the log, for a look at it before Start returns
	ip, log := testcaddy.Program(t, "ip"), filepath.Join(t.TempDir(), "log")
	testcaddy.Program(t, "mkfifo")
	testcaddy.Program(t, "tee")
	host.wrap = []string{
		testcaddy.Program(t, "sh"), "-c", `mkfifo "$0.pipe"; tee "$0" <"$0.pipe" & exec "$@" 2>"$0.pipe"`, log,
	}
	waits := func() bool {
		text, _ := os.ReadFile(log)
		return strings.Contains(string(text), "cannot listen yet, trying again")
	}
	added := make(chan error, 1)
	go func() {
		for range 3000 {
			if waits() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		added <- exec.Command(ip, "-n", host.name, "addr", "add", "192.0.2.52/24", "dev", "eth0").Run()
	}()
	host.start(testcaddy.Config{Sites: netSites("ipv4/192.0.2.52?retry=1m")})
	if err := <-added; err != nil || !waits() {
		t.Fatalf("adding the address: %v; it waited: %v", err, waits())
	}
	client.wantServed("192.0.2.52", 8001, "ipv4/192.0.2.52?retry=1m")
}
