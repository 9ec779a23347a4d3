package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// sockPatience is how long an answer may take that must come.
const sockPatience = 20 * time.Second

// sockNet is a network namespace in which a test has all ports to itself.
type sockNet struct {
	file *os.File
}

// sockNetwork puts the test, and what it starts, into a network namespace of
// its own, in which lo is up and nothing else.
func sockNetwork(t *testing.T) *sockNet {
	t.Helper()
	ip := testcaddy.Program(t, "ip")
	testcaddy.Binary(t) // go build may want the network
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(ip, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("ip link set lo up: %v\n%s", err, out)
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return &sockNet{file}
}

// enter puts the calling goroutine into the namespace, for good.
func (n *sockNet) enter() error {
	runtime.LockOSThread()
	return unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET)
}

// sockSite is a site at a port that answers with a value.
func sockSite(port int, bind, value string) string {
	return fmt.Sprintf("http://:%d {\n\tbind %s\n\trespond %s\n}\n", port, bind, value)
}

func sockConfig(sites ...string) testcaddy.Config {
	return testcaddy.Config{Sites: strings.Join(sites, "")}
}

func sockReload(t *testing.T, s *testcaddy.Server, sites ...string) {
	t.Helper()
	if err := s.Reload(sockConfig(sites...)); err != nil {
		t.Fatalf("reload: %v\n%s", err, strings.Join(sites, ""))
	}
}

// sockRefused loads a configuration that must be refused with a message of
// one line that has all the texts in it.
func sockRefused(t *testing.T, s *testcaddy.Server, sites string, texts ...string) {
	t.Helper()
	err := s.Reload(sockConfig(sites))
	if err == nil {
		t.Errorf("the configuration was loaded:\n%s", sites)
		return
	}
	t.Log(err)
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the message has several lines: %q", err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the message %q does not have %q", err, text)
		}
	}
}

// sockConn is a connection of HTTP/1.1.
type sockConn struct {
	net.Conn
	r *bufio.Reader
}

func sockDial(network, address string) (*sockConn, error) {
	conn, err := net.DialTimeout(network, address, sockPatience)
	if err != nil {
		return nil, err
	}
	return &sockConn{conn, bufio.NewReader(conn)}, nil
}

// ask sends a request.
func (c *sockConn) ask(path string) error {
	_, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
	return err
}

// answer reads the answer to a request.
func (c *sockConn) answer(patience time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(body), err
}

// close ends a connection of TCP without leaving it in TIME_WAIT.
func (c *sockConn) close() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// sockGet makes a request on a connection of its own.
func sockGet(network, address, path string) (string, error) {
	c, err := sockDial(network, address)
	if err != nil {
		return "", err
	}
	defer c.close()
	if err := c.ask(path); err != nil {
		return "", err
	}
	return c.answer(sockPatience)
}

// sockServes fails the test unless a value is served at an address; it asks
// again while the server of the configuration before closes connections.
func sockServes(t *testing.T, network, address, value string) {
	t.Helper()
	var got string
	var err error
	for range 200 {
		if got, err = sockGet(network, address, "/"); got == value {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s %s: got %q, %v; want %q", network, address, got, err, value)
}

// sockState is a listening socket as the kernel describes it.
type sockState struct {
	inode       uint64
	address     string
	backlog     int
	userTimeout int // ms
	tos         int
	rcvbuf      int
	share       bool
	descriptors int
}

// sockEach calls a function with duplicates of all of a server's sockets, until
// it is true.
func sockEach(t *testing.T, s *testcaddy.Server, fn func(fd int) bool) bool {
	t.Helper()
	pidfd, err := unix.PidfdOpen(s.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pidfd) }()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", s.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if name, err := os.Readlink(link); err != nil || !strings.HasPrefix(name, "socket:") {
			continue
		}
		n, _ := strconv.Atoi(filepath.Base(link))
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if err != nil {
			continue // closed meanwhile
		}
		found := fn(fd)
		_ = unix.Close(fd)
		if found {
			return true
		}
	}
	return false
}

// sockStates returns the listening TCP sockets of a server at a port.
func sockStates(t *testing.T, s *testcaddy.Server, port int) []sockState {
	t.Helper()
	var states []sockState
	sockEach(t, s, func(fd int) bool {
		state, ok := sockStateOf(fd, port)
		if !ok {
			return false
		}
		for i := range states {
			if states[i].inode == state.inode {
				states[i].descriptors++
				return false
			}
		}
		states = append(states, state)
		return false
	})
	return states
}

func sockStateOf(fd, port int) (state sockState, ok bool) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return state, false
	}
	v6 := false
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		ok = name.Port == port
		state.address = net.IP(name.Addr[:]).String()
	case *unix.SockaddrInet6:
		ok, v6 = name.Port == port, true
		state.address = net.IP(name.Addr[:]).String()
	}
	if listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listening == 0 || !ok {
		return state, false
	}
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil {
		return state, false
	}
	state.inode, state.descriptors = stat.Ino, 1
	if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		state.backlog = int(info.Sacked)
	}
	state.userTimeout, _ = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	state.rcvbuf, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	state.tos, _ = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS)
	if v6 {
		state.tos, _ = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS)
	}
	shared, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
	state.share = shared != 0
	return state, true
}

// sockOne returns the only listening socket at a port.
func sockOne(t *testing.T, s *testcaddy.Server, port int) sockState {
	t.Helper()
	states := sockStates(t, s, port)
	if len(states) != 1 {
		t.Fatalf("the server has %d listening sockets at port %d: %+v", len(states), port, states)
	}
	return states[0]
}

// sockSettled returns the only listening socket at a port once only one
// configuration has it: a descriptor of the pool's and one of the listener's.
func sockSettled(t *testing.T, s *testcaddy.Server, port int) (state sockState) {
	t.Helper()
	testcaddy.Eventually(t, "the end of the configuration before", func() bool {
		states := sockStates(t, s, port)
		if len(states) == 1 {
			state = states[0]
		}
		return len(states) == 1 && state.descriptors == 2
	})
	return state
}

// sockName is what a diagnosis calls a Caddy of the tests: the name of its
// process, of which the kernel keeps 15 bytes.
func sockName(t *testing.T) string {
	name := filepath.Base(testcaddy.Binary(t))
	return name[:min(len(name), 15)]
}

// sockLogged counts the entries of package listeners with a message.
func sockLogged(s *testcaddy.Server, msg string) (n int) {
	for _, e := range s.Log() {
		if strings.HasPrefix(e.Logger, "gin.listeners") && strings.Contains(e.Msg, msg) {
			n++
		}
	}
	return n
}
