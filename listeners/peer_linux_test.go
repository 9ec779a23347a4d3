package listeners_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/listeners"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestPeerOfOtherUsers(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // others are to get in
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // others are to get in
		t.Fatal(err)
	}
	for _, want := range []listeners.Peer{
		{UID: 65534, GID: 65534}, {UID: 1234, GID: 1}, {UID: 0, GID: 4321}, {UID: 4294967294, GID: 4294967294}, {},
	} {
		want.PID = os.Getpid()
		client, err := testcaddy.DialAs(path, want.UID, want.GID)
		if err != nil {
			t.Fatalf("%+v: %v", want, err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := listeners.PeerOf(server); !ok || got != want {
			t.Errorf("got %+v, %t; want %+v", got, ok, want)
		}
		client.Close()
		// who has gone stays known until the server closes
		if got, ok := listeners.PeerOf(server); !ok || got != want {
			t.Errorf("after the client went: got %+v, %t; want %+v", got, ok, want)
		}
		server.Close()
	}
}

func TestPeerOfSocketPair(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET} {
		fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			file := os.NewFile(uintptr(fd), fmt.Sprint(name, fd))
			conn, err := net.FileConn(file)
			file.Close()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if got, ok := listeners.PeerOf(conn); !ok || got != peerMyself() {
				t.Errorf("%s: got %+v, %t", name, got, ok)
			}
		}
	}
}

// A datagram socket of the family that is connected to nobody has no peer.
func TestPeerOfUnconnectedSocket(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, ok := listeners.PeerOf(conn); ok {
		t.Errorf("got %+v", got)
	}
}
