package seamless

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/listeners"
)

// infoChild is the variable that has a test run in a process of its own, which
// was started with sockets; it holds the folder of the Unix socket among them.
const infoChild = "SEAMLESS_INFO_CHILD"

// infoActivate runs the test in a child process that gets sockets as from
// systemd: TCP and UDP at one port, named web, and a Unix socket, named sock.
func infoActivate(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "i") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := testcaddy.FreePort(t)
	ip := net.IPv4(127, 0, 0, 1)
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: ip, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: ip, Port: port})
	if err != nil {
		t.Fatal(err)
	}
	sock, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testcaddy.Program(t, "sh"), "-c", `export LISTEN_PID=$$; exec "$0" "$@"`, self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), infoChild+"="+fmt.Sprint(port), "PWD="+dir, "LISTEN_FDS=3", "LISTEN_FDNAMES=web:web:sock")
	for _, s := range []interface{ File() (*os.File, error) }{tcp, udp, sock} {
		file, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	_ = tcp.Close()
	_ = udp.Close()
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	_ = sock.Close()
}

// TestAddressesTellTheirSockets has sockets of every network, and looks which
// the wrapper serves.
func TestAddressesTellTheirSockets(t *testing.T) {
	lent := os.Getenv(infoChild)
	if lent == "" {
		infoActivate(t)
		return
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	const tls, h1 = `, "tls_connection_policies": [{}]`, `, "protocols": ["h1", "h2"]`
	const ours = `, "listener_wrappers": [{"wrapper": "seamless", "h3": true}]`
	port := func() string { return fmt.Sprint(testcaddy.FreePort(t)) }
	cases := []struct {
		infoServer
		bound, network string
		tcp, udp       bool // served by the wrapper
		sockets        int
	}{
		{infoServer{listen: "ipv4/127.0.0.1?backlog=7:P", more: h1}, "127.0.0.1:P", "ipv4", true, false, 1},
		{infoServer{listen: "ipv6/[::1?backlog=7]:P", more: h1}, "[::1]:P", "ipv6", true, false, 1},
		{infoServer{listen: "dual/localhost?use=edge:P", more: h1}, "127.0.0.1:P", "dual", true, false, 2},
		{infoServer{listen: "ipv4/*?device=lo&use=edge:P", more: h1}, "0.0.0.0%lo:P", "ipv4", true, false, 1},
		{infoServer{listen: "ipv4/127.0.0.1:P", more: h1, without: true}, "127.0.0.1:P", "ipv4", false, false, 1},
		{infoServer{listen: "dual/:P", more: tls}, "[::]:P", "dual", true, false, 2},
		{infoServer{listen: "ipv4/127.0.0.1?tos=8:P", more: tls + h1 + ours, without: true}, "127.0.0.1:P", "ipv4", true, true, 2},
		{infoServer{listen: "unixsock/" + dir + "/a?backlog=7|0600", more: h1}, dir + "/a", "unixsock", true, false, 1},
		{infoServer{listen: "unixsock/../" + filepath.Base(dir) + "/b", more: h1}, dir + "/b", "unixsock", true, false, 1},
		{infoServer{listen: "unixsock/@" + dir, more: h1}, "@" + dir, "unixsock", true, false, 1},
		{infoServer{listen: "systemd/web?backlog=7:" + lent, more: tls + h1 + ours, without: true}, "127.0.0.1:" + lent, "systemd", true, true, 2},
		{infoServer{listen: "systemd/sock:1", more: h1}, dir + "/s", "systemd", true, false, 1},
	}
	var servers []infoServer
	for i := range cases {
		c := &cases[i]
		p := port()
		c.listen, c.bound = strings.ReplaceAll(c.listen, ":P", ":"+p), strings.ReplaceAll(c.bound, ":P", ":"+p)
		servers = append(servers, c.infoServer)
	}
	stock := infoServer{listen: "127.0.0.1:" + port(), more: h1}
	for range 2 { // the second time over a reload
		infoMustLoad(t, infoCertificate(t)+`, "gin": {}`, append(servers, stock)...)
		all := listeners.Sockets()
		for _, c := range cases {
			known := 0
			for _, s := range all {
				if s.Asked != c.listen {
					continue
				}
				known++
				i := slices.IndexFunc(Addresses(), func(a AddressInfo) bool { return a.Serves(s) })
				if want := c.tcp && s.Transport != "udp" || c.udp && s.Transport == "udp"; (i >= 0) != want {
					t.Errorf("%s: %s is served by the wrapper: %v, want %v", c.listen, s.Transport, i >= 0, want)
				}
				if s.Network != c.network || s.Bound != c.bound && c.sockets == 1 {
					t.Errorf("%s: got %+v", c.listen, s)
				}
				if !slices.Contains(s.Configs, caddy.ActiveContext().Done()) {
					t.Errorf("%s: the configuration is not among %v", c.listen, s.Configs)
				}
				if i >= 0 && !slices.Contains(Addresses()[i].Configs, caddy.ActiveContext().Done()) {
					t.Errorf("%s: the configuration is not among those of its address", c.listen)
				}
				if file := strings.HasPrefix(s.Bound, dir); file != (s.Permissions != nil) || file && s.Mode == "" {
					t.Errorf("%s: got %+v", c.listen, s.Permissions)
				}
				if s.Transport != "udp" && s.Queue == nil || strings.Contains(c.listen, "backlog=7") && s.Queue != nil && s.Queue.Limit != 7 {
					t.Errorf("%s: got %+v", c.listen, s.Queue)
				}
			}
			if known != c.sockets {
				t.Errorf("%s: %d sockets, want %d", c.listen, known, c.sockets)
			}
		}
		if i := slices.IndexFunc(Addresses(), func(a AddressInfo) bool { return a.Address == stock.listen }); i < 0 {
			t.Errorf("%s is missing", stock.listen)
		}
	}
}
