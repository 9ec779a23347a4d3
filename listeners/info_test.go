package listeners

import (
	"encoding/json"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// infoAt returns what is said of the sockets of an address as it is bound.
func infoAt(bound string) (found []SocketInfo) {
	for _, s := range Sockets() {
		if s.Bound == bound {
			found = append(found, s)
		}
	}
	return found
}

// infoOne returns what is said of the only socket at an address.
func infoOne(t *testing.T, bound string) SocketInfo {
	t.Helper()
	found := infoAt(bound)
	if len(found) != 1 {
		t.Fatalf("%d sockets are at %s: %+v", len(found), bound, found)
	}
	return found[0]
}

// infoConn makes a connection that stays open, and returns the server's end.
func infoConn(t *testing.T, ln net.Listener, addr net.Addr) net.Conn {
	t.Helper()
	poolSend(t, []net.Addr{addr}, 1)
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { poolEnd(server) })
	return server
}

func TestSocketsTellWhoAskedForWhat(t *testing.T) {
	t.Parallel()
	ln, port := poolAnyPort(t, "ipv4/127.0.0.1:PORT")
	bound := ln.Addr().String()
	first := poolConfig(t)
	one := poolOpen(t, first, "ipv4/127.0.0.1?keepalive=9s:"+strconv.Itoa(port))
	_ = ln.Close()
	s := infoOne(t, bound)
	want := SocketInfo{Network: IPv4, Asked: "ipv4/127.0.0.1?keepalive=9s:" + strconv.Itoa(port), Bound: bound,
		Transport: "tcp", Family: "IPv4", Key: "ipv4/" + bound}
	if s.Network != want.Network || s.Asked != want.Asked || s.Bound != want.Bound || s.Transport != want.Transport ||
		s.Family != want.Family || s.V6Only || s.Shares || s.Retiring || s.Key != want.Key || s.Permissions != nil {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if !slices.Equal(s.Configs, []<-chan struct{}{first.Done()}) {
		t.Errorf("got the configurations %v", s.Configs)
	}
	second := poolConfig(t)
	poolOpen(t, second, "ipv4/127.0.0.1?maxconn=3:"+strconv.Itoa(port))
	s = infoOne(t, bound)
	if s.Asked != "ipv4/127.0.0.1?maxconn=3:"+strconv.Itoa(port) || s.MaxConn != 3 || s.Key != want.Key {
		t.Errorf("after another configuration: %+v", s)
	}
	if !slices.Equal(s.Configs, []<-chan struct{}{first.Done(), second.Done()}) {
		t.Errorf("got the configurations %v", s.Configs)
	}
	_ = one.Close()
	if s = infoOne(t, bound); !slices.Equal(s.Configs, []<-chan struct{}{second.Done()}) {
		t.Errorf("got the configurations %v", s.Configs)
	}
}

// TestSocketsOfTwoSpellings has two configurations ask for one socket by two
// addresses.
func TestSocketsOfTwoSpellings(t *testing.T) {
	t.Parallel()
	both, port := poolAnyPort(t, "dual/localhost:PORT")
	if len(both.(*Listener).handles) != 2 {
		t.Skip("the host has one loopback address")
	}
	poolOpen(t, poolConfig(t), "ipv4/127.0.0.1:"+strconv.Itoa(port))
	found := infoAt("127.0.0.1:" + strconv.Itoa(port))
	if len(found) != 2 || found[0].Network != IPv4 || found[1].Network != Dual {
		t.Errorf("got %+v", found)
	}
	six := infoOne(t, "[::1]:"+strconv.Itoa(port))
	if six.Network != Dual || six.Family != "IPv6" || !six.V6Only {
		t.Errorf("got %+v", six)
	}
}

func TestSocketsCountConnections(t *testing.T) {
	t.Parallel()
	ln, _ := poolAnyPort(t, "dual/localhost?maxconn=3:PORT")
	addrs := ln.(*Listener).Addrs()
	if len(addrs) != 2 {
		t.Skip("the host has one loopback address")
	}
	want := func(i int, open int64, accepted uint64) {
		t.Helper()
		s := infoOne(t, addrs[i].String())
		if s.Open != open || s.Accepted != accepted || s.MaxConn != 3 {
			t.Errorf("%s: got %+v, want %d open of %d", addrs[i], *s.Connections, open, accepted)
		}
	}
	one := infoConn(t, ln, addrs[0])
	infoConn(t, ln, addrs[0])
	want(0, 2, 2)
	want(1, 0, 0)
	_ = one.Close()
	_ = one.Close()
	want(0, 1, 2)
	infoConn(t, ln, addrs[1])
	infoConn(t, ln, addrs[1])
	want(0, 1, 2)
	want(1, 2, 2)
	poolSend(t, addrs[:1], 1) // its socket accepts already
	testcaddy.Eventually(t, "both sockets pause", func() bool {
		return infoOne(t, addrs[0].String()).Paused == 1 && infoOne(t, addrs[1].String()).Paused == 1
	})
	want(0, 1, 2)
	want(1, 2, 2)
}

// TestCountsOutliveConfigurations reloads with connections open and waiting.
func TestCountsOutliveConfigurations(t *testing.T) {
	t.Parallel()
	ln, port := poolAnyPort(t, "ipv4/127.0.0.1:PORT")
	bound := ln.Addr()
	var accepted atomic.Int64
	last := uint64(0)
	for range 20 {
		conns := poolSend(t, []net.Addr{bound}, 3)
		next := poolOpen(t, poolConfig(t), "ipv4/127.0.0.1:"+strconv.Itoa(port))
		_ = ln.Close()
		go poolEcho(next, &accepted)
		poolAnswered(t, conns)
		s := infoOne(t, bound.String())
		if s.Accepted != last+3 {
			t.Fatalf("%d were accepted, and before it were %d", s.Accepted, last)
		}
		last, ln = s.Accepted, next
		for _, conn := range conns {
			poolEnd(conn)
		}
	}
	testcaddy.Eventually(t, "all are closed", func() bool { return infoOne(t, bound.String()).Open == 0 })
}

func TestSocketsAreInOrder(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"ipv6/[::1]:PORT", "ipv4/127.0.0.1:PORT", "dual/localhost:PORT"} {
		poolAnyPort(t, address)
	}
	own := func() (list []string) {
		for _, s := range Sockets() {
			if strings.Contains(s.Bound, "127.0.0.1:") || strings.Contains(s.Bound, "[::1]:") {
				list = append(list, strconv.Itoa(slices.Index(Networks, s.Network))+s.Asked)
			}
		}
		return list
	}
	if list := own(); !slices.IsSorted(list) || len(list) < 3 {
		t.Errorf("got %v", list)
	}
}

// TestSocketsOfHTTP3 looks at the UDP socket of an address.
func TestSocketsOfHTTP3(t *testing.T) {
	t.Parallel()
	ln, port := poolAnyPort(t, "ipv4/127.0.0.1:PORT")
	opener := poolConfig(t).(caddy.Context)
	conn := infoPackets(t, opener, "ipv4/127.0.0.1?backlog=9:"+strconv.Itoa(port))
	udp := func() *SocketInfo {
		for _, s := range infoAt(ln.Addr().String()) {
			if s.Transport == "udp" {
				return &s
			}
		}
		return nil
	}
	s := udp()
	if s == nil || s.Network != IPv4 || s.Asked != "ipv4/127.0.0.1?backlog=9:"+strconv.Itoa(port) || s.Key != "ipv4/"+ln.Addr().String() ||
		s.Connections != nil || s.Queue != nil || len(s.Configs) != 2 || s.Configs[0] != opener.Done() {
		t.Errorf("got %+v", s)
	}
	_ = conn.Close()
	if s = udp(); s != nil {
		t.Errorf("it is closed: %+v", s)
	}
}

// The UDP socket of several addresses is bound to the wildcard.
func TestSocketOfHTTP3ForSeveralAddresses(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux filters packets by their destination")
	}
	_, port := poolAnyPort(t, "dual/localhost:PORT")
	infoPackets(t, poolConfig(t).(caddy.Context), "dual/localhost:"+strconv.Itoa(port))
	for _, s := range infoAt("[::]:" + strconv.Itoa(port)) {
		if s.Transport != "udp" {
			continue
		}
		text, err := json.Marshal(s)
		if err != nil || !strings.Contains(string(text), `"packets_to":["127.0.0.1","::1"]`) {
			t.Errorf("got %s, %v", text, err)
		}
		return
	}
	t.Errorf("there is no UDP socket at port %d: %+v", port, Sockets())
}

// infoPackets opens the UDP socket of an address, for a configuration.
func infoPackets(t *testing.T, ctx caddy.Context, address string) io.Closer {
	t.Helper()
	na, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	na.Network += "/udp"
	opened, err := na.Listen(ctx, 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	conn := opened.(net.PacketConn)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestJSONOfSockets(t *testing.T) {
	t.Parallel()
	ln, _ := poolAnyPort(t, "ipv4/127.0.0.1:PORT")
	keys := func(s SocketInfo) []string {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		for _, optional := range []string{"options", "queue"} { // where the system tells
			delete(fields, optional)
		}
		return slices.Sorted(maps.Keys(fields))
	}
	s := infoOne(t, ln.Addr().String())
	common := []string{"asked", "bound", "family", "network", "transport"}
	want := slices.Sorted(slices.Values(append([]string{"accepted", "maxconn", "open", "paused"}, common...)))
	if got := keys(s); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s.Connections, s.Permissions = nil, &Permissions{Owner: "root", Group: "root", Mode: "0660"}
	want = slices.Sorted(slices.Values(append([]string{"gid", "group", "mode", "owner", "uid"}, common...)))
	if got := keys(s); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
