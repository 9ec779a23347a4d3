package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// sockNginx starts nginx on an address; reuseport is a word of nginx's listen
// directive. The error is what it prints if it ends by itself.
func sockNginx(t *testing.T, listen string) (pid int, err error) {
	t.Helper()
	program := testcaddy.Program(t, "nginx")
	dir := t.TempDir()
	text := fmt.Sprintf("daemon off;\nmaster_process off;\npid %[1]s/pid;\nerror_log stderr notice;\nevents {}\n"+
		"http {\n\taccess_log off;\n\tclient_body_temp_path %[1]s/b;\n\tproxy_temp_path %[1]s/p;\n\tfastcgi_temp_path %[1]s/f;\n"+
		"\tuwsgi_temp_path %[1]s/u;\n\tscgi_temp_path %[1]s/s;\n\tserver {\n\t\tlisten %[2]s;\n\t\treturn 200 nginx;\n\t}\n}\n", dir, listen)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-e", "stderr", "-c", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	address, _, _ := strings.Cut(listen, " ")
	for range 2000 {
		select {
		case <-ended:
			return 0, fmt.Errorf("nginx: %s", out.String())
		default:
		}
		if body, err := sockGet("tcp", address, "/"); err == nil && body == "nginx" {
			return cmd.Process.Pid, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("nginx neither serves nor ends:\n%s", out.String())
	return 0, nil
}

// sockWords fails the test unless an error has all the words in it.
func sockWords(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Error("whoever came second was not refused")
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is missing in: %v", word, err)
		}
	}
}

func TestWhoeverComesSecondIsRefused(t *testing.T) {
	t.Parallel()
	try := func(t *testing.T, bind string) error {
		_, err := testcaddy.TryStart(t, sockConfig(sockSite(8080, bind, "second")))
		return err
	}
	for _, test := range []struct{ first, second string }{
		{"ipv4/127.0.0.1", "ipv4/127.0.0.1"},
		{"ipv4/*", "ipv4/127.0.0.1"},
		{"ipv4/127.0.0.1", "ipv4/*"},
		{"ipv4/127.0.0.1", "dual/"},
		{"ipv4/127.0.0.1", "ipv4/127.0.0.1?share"},
		{"ipv4/127.0.0.1?share", "ipv4/127.0.0.1"},
		{"tcp4/127.0.0.1", "ipv4/127.0.0.1"},
		{"tcp/", "ipv4/127.0.0.1"},
	} {
		t.Run(test.second+" after "+test.first, func(t *testing.T) {
			t.Parallel()
			sockNetwork(t)
			first := testcaddy.Start(t, sockConfig(sockSite(8080, test.first, "first")))
			sockWords(t, try(t, test.second), fmt.Sprintf("in use by %s (pid %d,", sockName(t), first.Pid))
			sockServes(t, "tcp", sockAt(8080), "first")
		})
	}
	for _, test := range []struct{ first, second string }{
		{"ipv4/127.0.0.1", "tcp4/127.0.0.1"},
		{"ipv4/*", "tcp4/127.0.0.1"},
		{"ipv4/127.0.0.1", "tcp/"},
		{"dual/", "tcp4/127.0.0.1"},
	} {
		t.Run("stock "+test.second+" after "+test.first, func(t *testing.T) {
			t.Parallel()
			sockNetwork(t)
			testcaddy.Start(t, sockConfig(sockSite(8080, test.first, "first")))
			sockWords(t, try(t, test.second), "address already in use")
			sockServes(t, "tcp", sockAt(8080), "first")
		})
	}
	for _, reuse := range []string{"", " reuseport"} {
		t.Run("nginx first"+reuse, func(t *testing.T) {
			t.Parallel()
			sockNetwork(t)
			pid, err := sockNginx(t, "127.0.0.1:8080"+reuse)
			if err != nil {
				t.Fatal(err)
			}
			for _, bind := range []string{"ipv4/127.0.0.1", "ipv4/*"} {
				sockWords(t, try(t, bind), fmt.Sprintf("in use by nginx (pid %d,", pid))
			}
			sockServes(t, "tcp", sockAt(8080), "nginx")
		})
		t.Run("nginx second"+reuse, func(t *testing.T) {
			t.Parallel()
			sockNetwork(t)
			testcaddy.Start(t, sockConfig(sockSite(8080, "ipv4/127.0.0.1", "first")))
			_, err := sockNginx(t, "127.0.0.1:8080"+reuse)
			sockWords(t, err, "Address already in use")
			sockServes(t, "tcp", sockAt(8080), "first")
		})
	}
}

func TestShareLetsTwoOfOursShare(t *testing.T) {
	t.Parallel()
	network := sockNetwork(t)
	const bind = "ipv4/127.0.0.1?share"
	testcaddy.Start(t, sockConfig(sockSite(8080, bind, "first")))
	second := testcaddy.Start(t, sockConfig(sockSite(8080, bind, "second")))
	answers := make(map[string]int)
	for range 2000 {
		body, err := sockGet("tcp", sockAt(8080), "/")
		if err != nil {
			t.Fatal(err)
		}
		answers[body]++
		if answers["first"] > 20 && answers["second"] > 20 {
			break
		}
	}
	if answers["first"] <= 20 || answers["second"] <= 20 {
		t.Errorf("the kernel dealt out: %v", answers)
	}
	load := sockStartLoad(t, network, "/", "tcp", sockAt(8080))
	for range 5 {
		load.more(t, 20)
		sockReload(t, second, sockSite(8080, bind, "second"))
	}
	load.lossless(t)
}

// The old and the new socket share for a moment; the kernel must not go on to
// let others in.
func TestExclusiveAfterAnOverlappingChange(t *testing.T) {
	t.Parallel()
	for _, binds := range [][]string{
		{"ipv4/*", "ipv4/127.0.0.1"},
		{"ipv4/127.0.0.1", "ipv4/*"},
		{"dual/", "ipv4/"},
		{"ipv4/*", "ipv4/127.0.0.1", "ipv4/*"},
	} {
		t.Run(strings.Join(binds, " to "), func(t *testing.T) {
			t.Parallel()
			sockNetwork(t)
			s := testcaddy.Start(t, sockConfig(sockSite(8080, binds[0], "first")))
			for _, bind := range binds[1:] {
				sockReload(t, s, sockSite(8080, bind, "first"))
			}
			sockSettled(t, s, 8080)
			_, err := testcaddy.TryStart(t, sockConfig(sockSite(8080, "tcp4/127.0.0.1", "second")))
			sockWords(t, err, "address already in use")
			_, err = testcaddy.TryStart(t, sockConfig(sockSite(8080, "ipv4/127.0.0.1", "second")))
			sockWords(t, err, "in use by "+sockName(t))
		})
	}
}

func TestTwoSpellingsOfOneSocketAreRefused(t *testing.T) {
	t.Parallel()
	sockNetwork(t)
	s := testcaddy.Start(t, sockConfig(sockSite(8080, "ipv4/127.0.0.1", "v0")))
	before := sockOne(t, s, 8080)
	if err := os.Symlink(s.Dir, filepath.Join(s.Dir, "alias")); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{
		{"ipv4/127.0.0.1", "ipv4/lo"},
		{"ipv4/127.0.0.1", "dual/localhost"},
		{"ipv4/127.0.0.1", "ipv4/127.0.0.1?backlog=9"},
		{"ipv4/*", "ipv4/0.0.0.0?backlog=9"},
		{"dual/lo", "ipv6/localhost"},
		{"unixsock/$DIR/a.sock", "unixsock/$DIR/./a.sock"},
		{"unixsock/$DIR/a.sock", "unixsock/$DIR/alias/a.sock"},
		{"unixsock/$DIR/a.sock", "unixsock/a.sock"},
	} {
		sites := fmt.Sprintf("http://one.example:8080 {\n\tbind %s\n\trespond bad\n}\nhttp://two.example:8080 {\n\tbind %s\n\trespond bad\n}\n", pair[0], pair[1])
		sockRefused(t, s, sites, "this configuration listens here already", "another spelling of the address")
		sockServes(t, "tcp", sockAt(8080), "v0")
	}
	if now := sockSettled(t, s, 8080); now.inode != before.inode || now.backlog != before.backlog {
		t.Errorf("the socket was %+v, and is %+v", before, now)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "a.sock")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
