package listeners

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestHoldersOfAnotherUser(t *testing.T) {
	t.Parallel()
	var address string
	pid := startChild(t, nobody, "/", "listen tcp4 127.0.0.1:0", &address)
	target := testTarget(t, "tcp", address)
	want := ownHolder(t, address, familyIPv4)
	want.Pid, want.UID, want.User = pid, nobody, userName(nobody)
	want.Process = comm(t, pid)
	wantHolders(t, target, want)
	text := fmt.Sprintf("in use by %s (pid %d, user %s) on %s; stop it", want.Process, pid, want.User, address)
	wantWords(t, Diagnose(target, bindRaw(target)), syscall.EADDRINUSE, text)
}

func comm(t *testing.T, pid int) string {
	t.Helper()
	name, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}

// Without the right to look into other processes there is the uid.
func TestHoldersWithoutRights(t *testing.T) {
	t.Parallel()
	port := listenOn(t, "tcp4", "127.0.0.1:0")
	var holders []Holder
	startChild(t, nobody, "/", "holders tcp 127.0.0.1:"+port, &holders)
	want := Holder{Address: "127.0.0.1:" + port, Family: familyIPv4, UID: 0, User: "root"}
	if len(holders) != 1 || holders[0] != want {
		t.Errorf("got %+v, want %+v", holders, want)
	}
	var text string
	startChild(t, nobody, "/", "diagnose tcp 127.0.0.1:"+port, &text)
	if want := "127.0.0.1:" + port + ": in use by a process of user root (uid 0) on 127.0.0.1:" + port +
		"; `ss -lntp 'sport = :" + port + "'` as root shows which"; text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestHoldersNginx(t *testing.T) {
	t.Parallel()
	nginx := testcaddy.Program(t, "nginx")
	dir := t.TempDir()
	const port = "8080" // of a network namespace of its own
	for _, c := range []struct{ listen, target, words string }{
		{"127.0.0.1:%s", "127.0.0.1:%s", ") on 127.0.0.1:%s; stop it"},
		{"[::]:%s ipv6only=off", "127.0.0.1:%s", ") on [::]:%s, an IPv6 socket that takes IPv4 too; stop it, set it to IPv6 only"},
		{"0.0.0.0:%s", "127.0.0.1:%s", ") on 0.0.0.0:%s, which covers every IPv4 address; stop it"},
	} {
		pid := startNginx(t, nginx, dir, fmt.Sprintf(c.listen, port), port)
		target := testTarget(t, "tcp", fmt.Sprintf(c.target, port))
		got := Holders(target)
		if len(got) != 1 || got[0].Pid != pid || got[0].Process != "nginx" {
			t.Errorf("listen %s: pid %d: %+v", c.listen, pid, got)
		}
		wantWords(t, Diagnose(target, bindRaw(target)), syscall.EADDRINUSE,
			fmt.Sprintf("in use by nginx (pid %d, user ", pid), fmt.Sprintf(c.words, port))
	}
}

// startNginx puts the calling thread into a network namespace of its own, and
// nginx with it.
func startNginx(t *testing.T, nginx, dir, listen, port string) (pid int) {
	t.Helper()
	newNetwork(t)
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; pid %s/pid; error_log %s/error.log; worker_processes 2;\n"+
		"events {}\nhttp { access_log off; client_body_temp_path %s/body; proxy_temp_path %s/proxy; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;\n"+
		"server { listen %s; } }\n", dir, dir, dir, dir, dir, dir, dir, listen)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-c", config, "-p", dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = conn.Close()
			return cmd.Process.Pid
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
