package e2e

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestOptionsChangeOnTheLiveSocket(t *testing.T) {
	t.Parallel()
	for _, bind := range []string{"ipv4/127.0.0.1", "ipv6/", "dual/"} {
		t.Run(bind, func(t *testing.T) {
			t.Parallel()
			sockNetwork(t)
			const port = 8080
			site := func(options, value string) string { return sockSite(port, bind+"?"+options, value) }
			const first = "mptcp=off&rcvbuf=64KiB&backlog=100"
			s := testcaddy.Start(t, sockConfig(site(first, "v0")))
			address := "[::1]:8080"
			if strings.HasPrefix(bind, "ipv4") {
				address = sockAt(port)
			}
			before := sockOne(t, s, port)
			rcvbuf := before.rcvbuf
			for i, step := range []struct {
				options string
				want    sockState
			}{
				{first, sockState{backlog: 100, rcvbuf: rcvbuf}},
				{"mptcp=off&rcvbuf=128KiB&backlog=7&user_timeout=12s&tos=0x10&keepalive=30s&maxconn=50",
					sockState{backlog: 7, rcvbuf: 2 * rcvbuf, userTimeout: 12_000, tos: 16}},
				{"mptcp=off&rcvbuf=128KiB&user_timeout=1500ms&tos=8", sockState{backlog: 4096, rcvbuf: 2 * rcvbuf, userTimeout: 1500, tos: 8}},
				{first, sockState{backlog: 100, rcvbuf: rcvbuf}},
				{"backlog=100&mptcp=off&rcvbuf=65536", sockState{backlog: 100, rcvbuf: rcvbuf}},
			} {
				value := "v" + strconv.Itoa(i+1)
				sockReload(t, s, site(step.options, value))
				sockServes(t, "tcp", address, value)
				step.want.inode, step.want.address, step.want.descriptors = before.inode, before.address, 2
				if now := sockSettled(t, s, port); now != step.want {
					t.Errorf("with %s the socket is %+v, want %+v", step.options, now, step.want)
				}
			}

			for _, refused := range []struct{ options, why string }{
				{strings.Replace(first, "mptcp=off", "mptcp=on", 1), "option mptcp: a socket is of MPTCP from its start or never"},
				{first + "&share", "option share: a socket is shared from its start or never"},
				{"mptcp=off&backlog=9", "option rcvbuf"},
				{first + "&sndbuf=64KiB", "option sndbuf=65536"},
			} {
				sockRefused(t, s, site(refused.options, "bad"), refused.why, "stop the site first, or use another port")
				sockServes(t, "tcp", address, "v5")
				if now := sockSettled(t, s, port); now.backlog != 100 || now.inode != before.inode || now.share {
					t.Errorf("after %s was refused the socket is %+v", refused.options, now)
				}
			}
			// a device makes it another address, with a socket of its own
			sockReload(t, s, site(first+"&device=lo", "lo"))
			sockServes(t, "tcp", address, "lo")
			var now sockState
			testcaddy.Eventually(t, "the end of sharing, right after that of the other socket", func() bool {
				now = sockSettled(t, s, port)
				return !now.share
			})
			if now.inode == before.inode || now.backlog != 100 {
				t.Errorf("with device=lo the socket is %+v", now)
			}
		})
	}
}

func TestShareIsNotSwitchedOffOnALiveSocket(t *testing.T) {
	t.Parallel()
	sockNetwork(t)
	s := testcaddy.Start(t, sockConfig(sockSite(8080, "ipv4/127.0.0.1?share", "v0")))
	before := sockOne(t, s, 8080)
	if !before.share {
		t.Fatalf("the socket does not share: %+v", before)
	}
	for _, bind := range []string{"ipv4/127.0.0.1", "ipv4/127.0.0.1?share=off"} {
		sockRefused(t, s, sockSite(8080, bind, "bad"), "option share", "from its start or never")
	}
	sockServes(t, "tcp", sockAt(8080), "v0")
	if now := sockSettled(t, s, 8080); now.inode != before.inode || !now.share {
		t.Errorf("the socket was %+v, and is %+v", before, now)
	}
}

// The failure comes after all listeners are open and the HTTP app runs.
func TestOptionsGoBackWhenTheConfigurationFailsLater(t *testing.T) {
	t.Parallel()
	sockNetwork(t)
	tcp := func(options, value string) string { return sockSite(8080, "ipv4/127.0.0.1?"+options, value) }
	site := func(options, file, value string) testcaddy.Config {
		return sockConfig(tcp(options, value) + "http:// {\n\tbind unixsock/$DIR/app.sock" + file + "\n\trespond " + value + "\n}\n")
	}
	good := site("mptcp=off&backlog=100&tos=8&rcvbuf=64KiB", "?user=1234&group=2345&backlog=20|0640", "v0")
	s := testcaddy.Start(t, good)
	file := filepath.Join(s.Dir, "app.sock")
	before, beforeFile := sockOne(t, s, 8080), sockFile(t, file)
	for _, slowly := range []bool{false, true} {
		lifeLoadLateFailure(t, s, site("mptcp=off&backlog=50&user_timeout=5s&rcvbuf=128KiB&maxconn=1", "?user=4321|0600", "bad"), slowly)
		sockServes(t, "tcp", sockAt(8080), "v0")
		sockServes(t, "unix", file, "v0")
		if now := sockSettled(t, s, 8080); now.backlog != before.backlog || now.tos != before.tos ||
			now.userTimeout != before.userTimeout || now.rcvbuf != before.rcvbuf || now.inode != before.inode {
			t.Errorf("the socket was %+v, and is %+v", before, now)
		}
		if now := sockFile(t, file); now != beforeFile {
			t.Errorf("the file was %s, and is %s", beforeFile, now)
		}
		// maxconn is that of before, too: none
		for range 3 {
			c, err := sockDial("tcp", sockAt(8080))
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			if err := c.ask("/"); err != nil {
				t.Fatal(err)
			}
			if _, err := c.answer(sockPatience); err != nil {
				t.Fatalf("a connection beyond the limit of the failed configuration: %v", err)
			}
		}
	}
}

func TestModeAndOwnerChangeOnTheLiveUnixSocket(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, sockConfig("http:// {\n\tbind unixsock/$DIR/app.sock\n\trespond v0\n}\n"))
	file := filepath.Join(s.Dir, "app.sock")
	inode := func() string {
		_, inode, _ := strings.Cut(sockFile(t, file), "inode ")
		return inode
	}
	before := inode()
	for i, step := range []struct{ bind, want string }{
		{"unixsock/$DIR/app.sock?user=1234&group=2345|0600", "Srw------- 1234:2345"},
		{"unixsock/$DIR/app.sock?user=1235&group=2346|0666", "Srw-rw-rw- 1235:2346"},
		{"unixsock/$DIR/app.sock?user=root&group=root&backlog=5|0640", "Srw-r----- 0:0"},
	} {
		value := "v" + strconv.Itoa(i+1)
		sockReload(t, s, "http:// {\n\tbind "+step.bind+"\n\trespond "+value+"\n}\n")
		sockServes(t, "unix", file, value)
		if now, want := sockFile(t, file), step.want+" inode "+before; now != want {
			t.Errorf("%s: the file is %s, want %s", step.bind, now, want)
		}
	}
	// without them the file is the process's again
	sockReload(t, s, "http:// {\n\tbind unixsock/$DIR/app.sock?user=1236&group=2347\n\trespond v3\n}\n")
	sockReload(t, s, "http:// {\n\tbind unixsock/$DIR/app.sock|0640\n\trespond v3\n}\n")
	if now, want := sockFile(t, file), "Srw-r----- 0:0 inode "+before; now != want {
		t.Errorf("the file is %s, want %s", now, want)
	}
	sockRefused(t, s, "http:// {\n\tbind unixsock/$DIR/app.sock?user=nobody-of-that-name\n\trespond bad\n}\n", "option user=nobody-of-that-name")
	if now, want := sockFile(t, file), "Srw-r----- 0:0 inode "+before; now != want {
		t.Errorf("the file is %s, want %s", now, want)
	}
	sockServes(t, "unix", file, "v3")
}

// Keep-alive is of connections: a new one has what the newest configuration
// says.
func TestKeepaliveOfNewConnectionsChangesByReload(t *testing.T) {
	t.Parallel()
	sockNetwork(t)
	s := testcaddy.Start(t, sockConfig(sockSite(8080, "ipv4/127.0.0.1?keepalive=40s", "v0")))
	before := sockOne(t, s, 8080)
	for i, step := range []struct {
		option string
		idle   int // s; 0 if it is off
	}{{"keepalive=40s", 40}, {"keepalive=70s", 70}, {"keepalive=off", 0}} {
		value := "v" + strconv.Itoa(i+1)
		sockReload(t, s, sockSite(8080, "ipv4/127.0.0.1?"+step.option, value))
		sockServes(t, "tcp", sockAt(8080), value)
		c, err := sockDial("tcp", sockAt(8080))
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		if err := c.ask("/"); err != nil {
			t.Fatal(err)
		}
		if body, err := c.answer(sockPatience); err != nil || body != value {
			t.Fatalf("got %q, %v; want %q", body, err, value)
		}
		on, idle := sockKeepalive(t, s, c.LocalAddr().(*net.TCPAddr).Port)
		if on != (step.idle > 0) || on && idle != step.idle {
			t.Errorf("%s: keep-alive is %t, after %d s", step.option, on, idle)
		}
	}
	if now := sockSettled(t, s, 8080); now.inode != before.inode {
		t.Error("there is another socket")
	}
}

// sockKeepalive looks at the server's end of the connection with a client's
// port.
func sockKeepalive(t *testing.T, s *testcaddy.Server, client int) (on bool, idle int) {
	t.Helper()
	found := sockEach(t, s, func(fd int) bool {
		peer, err := unix.Getpeername(fd)
		if v4, ok := peer.(*unix.SockaddrInet4); err != nil || !ok || v4.Port != client {
			return false
		}
		n, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		on = n != 0
		idle, _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		return true
	})
	if !found {
		t.Fatalf("the server has no connection of port %d", client)
	}
	return on, idle
}
