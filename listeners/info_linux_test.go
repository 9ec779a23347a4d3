package listeners

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// TestQueueOfSockets fills accept queues.
func TestQueueOfSockets(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"ipv4/127.0.0.1?backlog=7&mptcp:PORT", "ipv6/[::1?backlog=7&mptcp=off]:PORT", "dual/?backlog=7:PORT", "unixsock/DIR/s?backlog=7", "unixsock/@DIR?backlog=7"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			ln := infoListen(t, address)
			dial := ln.Addr()
			if tcp, ok := dial.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
				dial = &net.TCPAddr{IP: net.IPv6loopback, Port: tcp.Port}
			}
			want := func(depth int) {
				t.Helper()
				testcaddy.Eventually(t, strconv.Itoa(depth)+" in the queue", func() bool {
					s := infoOne(t, infoBound(ln))
					if s.Queue == nil || s.Queue.Limit != 7 || s.Options["backlog"] != "7" {
						t.Fatalf("got %+v, %v", s.Queue, s.Options)
					}
					return s.Queue.Depth == depth
				})
			}
			want(0)
			poolSend(t, []net.Addr{dial}, 3)
			want(3)
			conn, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			poolEnd(conn)
			want(2)
		})
	}
}

// infoListen opens a listener at a free port or path.
func infoListen(t *testing.T, address string) net.Listener {
	t.Helper()
	if !strings.HasPrefix(address, UnixSock) {
		ln, _ := poolAnyPort(t, address)
		return ln
	}
	return poolOpen(t, poolConfig(t), strings.ReplaceAll(address, "DIR", shortDir(t)))
}

// infoBound is what Bound is for a listener of one socket.
func infoBound(ln net.Listener) string { return ln.(*Listener).handles[0].socket.target.String() }

func TestBacklogIsWhatTheKernelApplies(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"ipv4/127.0.0.1:PORT", "unixsock/DIR/s"} {
		s := infoOne(t, infoBound(infoListen(t, address)))
		most, err := os.ReadFile("/proc/sys/net/core/somaxconn")
		if err != nil {
			t.Fatal(err)
		}
		if limit := strconv.Itoa(s.Queue.Limit) + "\n"; limit != string(most) || s.Options["backlog"]+"\n" != limit {
			t.Errorf("%s: got %s and %s, want %s", address, limit, s.Options["backlog"], most)
		}
	}
}

func TestOptionsOfSockets(t *testing.T) {
	t.Parallel()
	ln, port := poolAnyPort(t, "ipv4/127.0.0.1?mptcp=off&rcvbuf=64KiB&sndbuf=32KiB&tos=16&user_timeout=1500ms&defer_accept=7s&fastopen=5&freebind&share&device=lo:PORT")
	s := infoOne(t, "127.0.0.1%lo:"+strconv.Itoa(port))
	for name, value := range map[string]string{
		"rcvbuf": "131072", "sndbuf": "65536", "tos": "16", "user_timeout": "1.5s", "defer_accept": "7s",
		"fastopen": "5", "freebind": "on", "share": "on", "device": "lo", "mptcp": "", "transparent": "",
	} {
		if s.Options[name] != value {
			t.Errorf("%s is %q, want %q", name, s.Options[name], value)
		}
	}
	if !s.Shares || s.Key != "ipv4/127.0.0.1?device=lo:"+strconv.Itoa(port) {
		t.Errorf("got %+v", s)
	}
	// as they are now, not as they were asked for
	if err := ln.(*Listener).handles[0].socket.set("tos", Options{"tos": {Text: "8", N: 8}}); err != nil {
		t.Fatal(err)
	}
	if s = infoOne(t, s.Bound); s.Options["tos"] != "8" {
		t.Errorf("tos is %q", s.Options["tos"])
	}
}

func TestFamiliesOfSockets(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]SocketInfo{
		"ipv4/:PORT":       {Family: "IPv4"},
		"ipv6/:PORT":       {Family: "IPv6", V6Only: true},
		"ipv6/[::1]:PORT":  {Family: "IPv6", V6Only: true},
		"dual/:PORT":       {Family: "IPv4 and IPv6"},
		"dual/?mptcp:PORT": {Family: "IPv4 and IPv6"},
		"unixsock/DIR/s":   {Family: "Unix"},
		"unixsock/@DIR":    {Family: "Unix"},
	} {
		s := infoOne(t, infoBound(infoListen(t, address)))
		if s.Family != want.Family || s.V6Only != want.V6Only {
			t.Errorf("%s: got %+v", address, s)
		}
	}
}

func TestPermissionsOfSockets(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	path := filepath.Join(shortDir(t), "a.sock")
	for host, want := range map[string]Permissions{
		"|0600":             {"root", "root", 0, 0, "0600"},
		"?user=nobody":      {"nobody", "root", nobody, 0, "0660"},
		"?group=54321|0222": {"root", "", 0, 54321, "0222"},
	} {
		ln := mustListen(t, path+host)
		if s := infoOne(t, path); s.Permissions == nil || *s.Permissions != want || s.Transport != "unix" || s.Asked != "unixsock/"+path+host {
			t.Errorf("%s: got %+v, %+v", host, s, s.Permissions)
		}
		_ = ln.Close()
	}
	mustListen(t, path)
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if s := infoOne(t, path); s.Mode != "0604" {
		t.Errorf("got %+v", s.Permissions)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	bindForeign(t, path, 1, 1)
	if s := infoOne(t, path); s.Permissions != nil {
		t.Errorf("those of another file: %+v", s.Permissions)
	}
}

// TestSocketsThatRetire replaces a socket by one that covers its address.
func TestSocketsThatRetire(t *testing.T) {
	t.Parallel()
	ln, port := poolAnyPort(t, "ipv4/*:PORT")
	wildcard, address := "0.0.0.0:"+strconv.Itoa(port), "127.0.0.1:"+strconv.Itoa(port)
	seen := false
	for round := 0; !seen && round < 20; round++ {
		config := poolConfig(t)
		next := poolOpen(t, config, "ipv4/"+address)
		if s := infoOne(t, address); !s.Shares || s.Retiring {
			t.Fatalf("the new one: %+v", s)
		}
		_ = ln.Close()
		if found := infoAt(wildcard); len(found) == 1 { // it stays for half a second
			s := found[0]
			seen = s.Retiring && s.Shares && s.Connections == nil && s.Asked == "ipv4/*:"+strconv.Itoa(port) && s.Queue != nil
			if !seen {
				t.Fatalf("the old one: %+v", s)
			}
		}
		testcaddy.Eventually(t, "the old one is closed, and the new one exclusive", func() bool {
			return len(infoAt(wildcard)) == 0 && !infoOne(t, address).Shares
		})
		ln = poolOpen(t, poolConfig(t), "ipv4/*:"+strconv.Itoa(port))
		_ = next.Close()
		testcaddy.Eventually(t, "the way back", func() bool { return len(infoAt(address)) == 0 })
	}
	if !seen {
		t.Error("no socket was seen retiring")
	}
}

// TestSocketsWhoseFileIsGone has a configuration make another socket.
func TestSocketsWhoseFileIsGone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "a.sock")
	first := mustListen(t, path)
	infoConn(t, first, first.Addr())
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := mustListen(t, path)
	found := infoAt(path)
	if len(found) != 2 || found[0].Retiring || !found[1].Retiring || found[1].Connections != nil || found[1].Permissions != nil {
		t.Fatalf("got %+v", found)
	}
	infoConn(t, second, second.Addr())
	_ = first.Close()
	if s := infoOne(t, path); s.Accepted != 2 || s.Open != 2 {
		t.Errorf("got %+v", s.Connections)
	}
}

func TestOverflowsAreCounted(t *testing.T) {
	t.Parallel()
	before, ok := Overflows()
	if !ok {
		t.Skip("the system has no such counters")
	}
	ln, _ := poolAnyPort(t, "ipv4/127.0.0.1?backlog=1&mptcp=off:PORT")
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
			if err == nil {
				<-ctx.Done()
				poolEnd(conn)
			} else if !errors.Is(err, context.Canceled) && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	testcaddy.Eventually(t, "an overflow", func() bool {
		now, _ := Overflows()
		return now.Overflows > before.Overflows && now.Drops > before.Drops
	})
	if s := infoOne(t, ln.Addr().String()); s.Queue.Depth <= s.Queue.Limit {
		t.Errorf("the queue is not full: %+v", *s.Queue)
	}
	cancel()
	clients.Wait()
}

// TestSocketsAreAskedWhileTheyAreClosed has sockets come and go. Not parallel:
// it counts descriptors and goroutines.
func TestSocketsAreAskedWhileTheyAreClosed(t *testing.T) {
	dir := shortDir(t)
	ln, port := poolAnyPort(t, "ipv4/*:PORT")
	_ = ln.Close()
	descriptors := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	files, goroutines := descriptors(), runtime.NumGoroutine()
	stop := make(chan struct{})
	var users sync.WaitGroup
	for _, addresses := range [][]string{
		{"ipv4/*:" + strconv.Itoa(port), "ipv4/127.0.0.1:" + strconv.Itoa(port)},
		{"unixsock/" + dir + "/s", "unixsock/" + dir + "/s?backlog=3"},
	} {
		users.Go(func() {
			var before net.Listener
			for i := 0; !isClosed(stop); i++ {
				ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
				next, err := poolTry(ctx, addresses[i%2])
				cancel()
				if err != nil {
					t.Error(err)
					break
				}
				if before != nil {
					_ = before.Close()
				}
				before = next
				if i%3 == 0 { // or else there always is one
					_, before = next.Close(), nil
				}
			}
			if before != nil {
				_ = before.Close()
			}
		})
	}
	for range 2000 {
		for _, s := range Sockets() {
			if s.Bound == "" || s.Options["backlog"] == "" || s.Queue == nil {
				t.Errorf("got %+v", s)
			}
		}
	}
	close(stop)
	users.Wait()
	testcaddy.Eventually(t, "nothing is left", func() bool {
		return len(Sockets()) == 0 && descriptors() <= files && runtime.NumGoroutine() <= goroutines
	})
}
