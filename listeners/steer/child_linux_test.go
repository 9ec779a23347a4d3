package steer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// childVariable makes the test binary a process that accepts connections.
const childVariable = "STEER_CHILD"

func TestMain(m *testing.M) {
	if name := os.Getenv(childVariable); name != "" {
		if err := (&child{name: name}).run(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child is a process that does what it is told on its standard input, one
// command a line, and answers each with a line. It tells its name to whoever
// connects.
type child struct {
	name    string
	ln      net.Listener
	group   *Group
	packets net.PacketConn
}

func (c *child) run() error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := c.do(strings.Fields(lines.Text()))
		if err != nil {
			answer = "error " + err.Error()
		}
		fmt.Println(answer)
	}
	return lines.Err()
}

func (c *child) do(command []string) (string, error) {
	switch command[0] {
	case "listen": // kind of socket, address
		var err error
		c.ln, err = sharedListener(command[1], command[2])
		if err != nil {
			return "", err
		}
		return c.ln.Addr().String(), nil
	case "accept":
		go func() {
			for conn, err := c.ln.Accept(); err == nil; conn, err = c.ln.Accept() {
				_, _ = io.WriteString(conn, c.name)
				_ = conn.Close()
			}
		}()
	case "close":
		if err := errors.Join(c.ln.Close(), c.group.Close()); err != nil {
			return "", err
		}
	case "end":
		return "ok", c.group.End()
	case "packets": // network, address: a UDP socket as HTTP/3 has one
		listeners.ShareWithPredecessor(true)
		conn, err := networkPackets(command[1], command[2])
		if err != nil {
			return "", err
		}
		c.packets = conn
	case "exclusive":
		listeners.ShareWithPredecessor(false)
	case "own":
		groups, err := Own(func(addr net.Addr) bool { return addr.String() == command[1] })
		if err != nil {
			return "", err
		}
		if len(groups) != 1 {
			return "", fmt.Errorf("%d groups", len(groups))
		}
		c.group = groups[0]
	case "keep":
		return "ok", c.group.Keep()
	case "give":
		return "ok", c.group.Give()
	case "detach":
		return "ok", c.group.Detach()
	}
	return "ok", nil
}

// sharedListener listens as Caddy does. The kinds are tcp, mptcp, and defer,
// which is a TCP socket whose handshakes end with the first data.
func sharedListener(kind, address string) (net.Listener, error) {
	config := net.ListenConfig{Control: reusePort}
	if kind == "defer" {
		config.Control = func(network, address string, raw syscall.RawConn) error {
			return errors.Join(reusePort(network, address, raw), setOption(raw, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 30))
		}
	}
	config.SetMultipathTCP(kind == "mptcp")
	return config.Listen(context.Background(), "tcp", address)
}

func reusePort(_, _ string, raw syscall.RawConn) error {
	return setOption(raw, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

func setOption(raw syscall.RawConn, level, option, value int) error {
	var set error
	err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), level, option, value) })
	return errors.Join(err, set)
}

// networkPackets opens what HTTP/3 has on a network of package listeners.
func networkPackets(network, address string) (net.PacketConn, error) {
	na, err := caddy.ParseNetworkAddress(network + "/" + address)
	if err != nil {
		return nil, err
	}
	na.Network += "/udp"
	opened, err := na.Listen(context.Background(), 0, net.ListenConfig{})
	if err != nil {
		return nil, err
	}
	return opened.(net.PacketConn), nil
}

// process is a child process, seen from the test.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// start starts a child process, which ends with the test.
func start(t *testing.T, name string) *process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(p.end)
	return p
}

// end ends the process and waits for it.
func (p *process) end() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// kill kills the process and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// try has the process run a command and returns its answer.
func (p *process) try(command string) string {
	p.t.Helper()
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("%s: no answer: %v", command, p.out.Err())
	}
	return p.out.Text()
}

// do is try for commands that must work.
func (p *process) do(command string) string {
	p.t.Helper()
	answer := p.try(command)
	if strings.HasPrefix(answer, "error ") {
		p.t.Fatalf("%s: %s", command, answer)
	}
	return answer
}

// serve has the process accept connections at an address, and returns which
// one that is.
func (p *process) serve(kind, address string) string {
	p.t.Helper()
	address = p.do("listen " + kind + " " + address)
	p.do("own " + address)
	p.do("accept")
	return address
}
