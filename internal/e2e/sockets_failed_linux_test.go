package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// sockFile is what is known of the file of a Unix socket.
func sockFile(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%s %d:%d inode %d", info.Mode(), stat.Uid, stat.Gid, stat.Ino)
}

// sockUnix is a site on a Unix socket.
func sockUnix(bind, value string) string {
	return fmt.Sprintf("http:// {\n\tbind %s\n\trespond %s\n}\n", bind, value)
}

func TestALoadThatFailsHalfwayLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	sockNetwork(t)
	const good = "ipv4/127.0.0.1?backlog=100&tos=8&mptcp=off&user_timeout=30s"
	sites := func(value string) string {
		return sockSite(8080, good, value) + sockUnix("unixsock/$DIR/app.sock?user=1234|0640", value) +
			sockSite(8083, "ipv4/*", value)
	}
	s := testcaddy.Start(t, sockConfig(sites("v0")))
	for range 5 { // so that what is made once is made
		sockReload(t, s, sites("v1"))
	}
	file := filepath.Join(s.Dir, "app.sock")
	before, beforeFile := sockSettled(t, s, 8080), sockFile(t, file)
	beforeWide := sockSettled(t, s, 8083)
	if before.backlog != 100 || before.tos != 8 || before.userTimeout != 30_000 {
		t.Fatalf("the options do not hold: %+v", before)
	}
	taken, err := net.Listen("tcp4", "127.0.0.1:9000")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	var base lifeBase
	for range 10 {
		now := lifeMeasure(s)
		base.goroutines = max(base.goroutines, now.goroutines)
		base.descriptors = max(base.descriptors, now.descriptors)
	}

	bad := sockSite(8080, "ipv4/127.0.0.1?backlog=50&tos=16&mptcp=off&user_timeout=10s", "bad") +
		sockUnix("unixsock/$DIR/app.sock?user=4321|0600", "bad") +
		"http://other.example {\n\tbind unixsock/$DIR/new/folder/b.sock?mkdir=0750\n\trespond bad\n}\n" +
		sockSite(8083, "ipv4/127.0.0.1", "bad") + // overlaps
		sockSite(8084, "ipv4/127.0.0.1", "bad") + // new
		sockSite(9000, "ipv4/127.0.0.1", "bad") // taken
	for range 50 {
		err := s.Reload(sockConfig(bad))
		if err == nil {
			t.Fatal("the configuration was loaded")
		}
		if !strings.Contains(err.Error(), "127.0.0.1:9000: in use by") {
			t.Fatalf("an unexpected message: %v", err)
		}
		for _, address := range []string{sockAt(8080), sockAt(8083)} {
			if body, err := sockGet("tcp", address, "/"); err != nil || body != "v1" {
				t.Fatalf("%s answers %q, %v", address, body, err)
			}
		}
	}
	for _, address := range []string{sockAt(8080), sockAt(8083)} {
		sockServes(t, "tcp", address, "v1")
	}
	sockServes(t, "unix", file, "v1")
	testcaddy.Eventually(t, "the end of the failed configurations", func() bool {
		return len(sockStates(t, s, 8083)) == 1 && len(sockStates(t, s, 8084)) == 0
	})
	if now := sockSettled(t, s, 8080); now != before {
		t.Errorf("the socket was %+v, and is %+v", before, now)
	}
	if now := sockSettled(t, s, 8083); now.inode != beforeWide.inode {
		t.Errorf("the socket was %+v, and is %+v", beforeWide, now)
	}
	if now := sockFile(t, file); now != beforeFile {
		t.Errorf("the socket's file was %s, and is %s", beforeFile, now)
	}
	testcaddy.Eventually(t, "the removal of what mkdir made", func() bool {
		_, err := os.Lstat(filepath.Join(s.Dir, "new"))
		return os.IsNotExist(err)
	})
	base.restored(t, s)
}
