//go:build unix

package listeners

import (
	"fmt"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// adoptKeepAlive tells whether a socket sends keep-alive probes.
func adoptKeepAlive(t *testing.T, conn net.Conn) (on bool) {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		if err != nil {
			t.Error(err)
		}
		on = n != 0
	}); err != nil {
		t.Fatal(err)
	}
	return on
}

// TestAdopt has a connection that another process could have accepted counted.
func TestAdopt(t *testing.T) {
	ln, port := poolAnyPort(t, "dual/localhost?maxconn=1&keepalive=off:PORT")
	key := fmt.Sprintf("dual/localhost:%d", port)
	open := func() (open int64, accepted uint64) {
		for _, s := range Sockets() {
			if s.Key == key && s.Bound == fmt.Sprintf("127.0.0.1:%d", port) {
				return s.Open, s.Accepted
			}
		}
		return -1, 0
	}
	client, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer poolEnd(client)
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	bare, ok := Bare(accepted)
	if !ok {
		t.Fatalf("a %T has nothing inside", accepted)
	}
	var conns []net.Conn
	for range 3 {
		file, err := bare.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		received, err := net.FileConn(file)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
		if other := Adopt(key+"0", received); other != received {
			t.Errorf("a %T came from nowhere", other)
		}
		conn := Adopt(key, received)
		if inside, ok := Bare(conn); !ok || inside != received {
			t.Errorf("inside a %T is a %T", conn, inside)
		}
		if adoptKeepAlive(t, received) {
			t.Error("it sends probes")
		}
		conns = append(conns, conn)
	}
	_ = accepted.Close()
	if n, accepted := open(); n != 3 || accepted != 4 { // whatever the limit
		t.Errorf("%d are open, %d accepted", n, accepted)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	if n, _ := open(); n != 0 {
		t.Errorf("%d are open", n)
	}
	if _, ok := Bare(struct{ net.Conn }{bare}); ok {
		t.Error("another layer is looked through")
	}
}
