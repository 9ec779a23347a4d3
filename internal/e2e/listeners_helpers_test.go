//go:build linux

package e2e

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// netHost is a host of a test: a network namespace, and a thread in it that
// opens the sockets of clients.
type netHost struct {
	t    testing.TB
	name string // of the namespace
	work chan func()
	wrap []string // further commands that execute Caddy
}

// newNetHost makes a host with nothing but lo. It is removed after the test.
func newNetHost(t testing.TB) *netHost {
	t.Helper()
	unable := t.Skipf
	if os.Getenv("CI") == "true" {
		unable = t.Fatalf
	}
	if os.Geteuid() != 0 {
		unable("network namespaces need root")
	}
	random := make([]byte, 6)
	_, _ = rand.Read(random)
	h := &netHost{t: t, name: "caddygin-" + hex.EncodeToString(random), work: make(chan func())}
	ip := testcaddy.Program(t, "ip")
	if out, err := exec.Command(ip, "netns", "add", h.name).CombinedOutput(); err != nil {
		unable("ip netns add: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		close(h.work)
		if out, err := exec.Command(ip, "netns", "del", h.name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v\n%s", err, out)
		}
	})
	entered := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		entered <- enterNetwork("/run/netns/" + h.name)
		for fn := range h.work {
			fn()
		}
	}()
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	h.ip("link set lo up")
	return h
}

// enterNetwork puts the thread into a network namespace.
func enterNetwork(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer func() { _ = unix.Close(fd) }()
	return os.NewSyscallError("setns", unix.Setns(fd, unix.CLONE_NEWNET))
}

// do runs a function on the host's thread.
func (h *netHost) do(fn func()) {
	done := make(chan struct{})
	h.work <- func() {
		defer close(done)
		fn()
	}
	<-done
}

// ip runs commands of iproute2 on the host.
func (h *netHost) ip(commands ...string) {
	h.t.Helper()
	cmd := exec.Command(testcaddy.Program(h.t, "ip"), "-n", h.name, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		h.t.Fatalf("ip %s: %v\n%s", strings.Join(commands, "; "), err, out)
	}
}

// ss returns what ss prints on the host.
func (h *netHost) ss(args ...string) string {
	h.t.Helper()
	testcaddy.Program(h.t, "ss")
	args = append([]string{"netns", "exec", h.name, "ss"}, args...)
	out, err := exec.Command(testcaddy.Program(h.t, "ip"), args...).Output()
	if err != nil {
		h.t.Fatalf("ss: %v", err)
	}
	return string(out)
}

// sysctl makes a setting of the host's kernel.
func (h *netHost) sysctl(name, value string) {
	h.t.Helper()
	var err error
	h.do(func() { err = os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
	if err != nil {
		h.t.Fatal(err)
	}
}

// start starts a Caddy on the host. Of hosts, lines as in /etc/hosts, it
// knows the names.
func (h *netHost) start(config testcaddy.Config, hosts ...string) *testcaddy.Server {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "hosts")
	if err := os.WriteFile(file, []byte(strings.Join(hosts, "\n")+"\n"), 0o644); err != nil { //nolint:gosec // like /etc/hosts
		h.t.Fatal(err)
	}
	config.Wrap = append([]string{
		testcaddy.Program(h.t, "ip"), "netns", "exec", h.name, // which also unshares the mounts
		testcaddy.Program(h.t, "sh"), "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, file,
	}, h.wrap...)
	return testcaddy.Start(h.t, config)
}

// zoned returns an address with its zone, the name of an interface of the
// host, as a number: names are looked up in a cache of the whole process.
func (h *netHost) zoned(text string) netip.Addr {
	h.t.Helper()
	ip := netip.MustParseAddr(text)
	if ip.Zone() == "" {
		return ip
	}
	var card *net.Interface
	var err error
	h.do(func() { card, err = net.InterfaceByName(ip.Zone()) })
	if err != nil {
		h.t.Fatal(err)
	}
	return ip.WithZone(strconv.Itoa(card.Index))
}

// dial connects from the host to an address as zoned takes it.
func (h *netHost) dial(network, ip string, port int) (conn net.Conn, err error) {
	h.t.Helper()
	address := netip.AddrPortFrom(h.zoned(ip), uint16(port)).String()
	h.do(func() { conn, err = (&net.Dialer{Timeout: 10 * time.Second}).Dial(network, address) })
	return conn, err
}

// get makes a request over a connection of its own and returns the body.
func (h *netHost) get(ip string, port int) (string, error) {
	h.t.Helper()
	conn, err := h.dial("tcp", ip, port)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// wantServed checks that a site answers at an address, with a body.
func (h *netHost) wantServed(ip string, port int, body string) {
	h.t.Helper()
	if got, err := h.get(ip, port); err != nil || got != body {
		h.t.Errorf("%s port %d: got %q, %v, not %q", ip, port, got, err, body)
	}
}

// wantRefused checks that nobody listens at an address.
func (h *netHost) wantRefused(ip string, port int) {
	h.t.Helper()
	conn, err := h.dial("tcp", ip, port)
	if err == nil {
		_ = conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		h.t.Errorf("%s port %d: got %v, not a refusal", ip, port, err)
	}
}

// wantAllIn checks that a text holds all parts.
func wantAllIn(t testing.TB, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q is not in: %s", what, part, text)
		}
	}
}
