package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// badAddress is an address that is refused, and what the message says.
type badAddress struct {
	bind     string
	global   string
	says     string
	loadOnly bool // nothing looks at the addresses of a server without gin before they are opened
}

const edge = "gin {\nlistener edge {\nbacklog 4096\nuser_timeout 30s\n}\nlistener files {\nmkdir 0750\n}\n}\n"

var badAddresses = map[string]badAddress{
	"option":             {bind: "ipv4/127.0.0.1?backlogg=5", says: `unknown option "backlogg": allowed are backlog, defer_accept, device, `},
	"option of files":    {bind: "ipv4/127.0.0.1?user=root", says: `unknown option "user": allowed are backlog, `},
	"option of IP":       {bind: "unixsock/$DIR/a.sock?freebind", says: `unknown option "freebind": allowed are backlog, group, maxconn, mkdir, use, user`},
	"option of systemd":  {bind: "systemd/web?freebind", says: `unknown option "freebind": allowed are backlog, `},
	"number":             {bind: "ipv4/127.0.0.1?backlog=0", says: "option backlog=0: not a whole number from 1 to 1048576"},
	"switch":             {bind: "ipv4/127.0.0.1?freebind=yes", says: "option freebind=yes: allowed are on and off"},
	"duration":           {bind: "ipv4/127.0.0.1?retry=1", says: "option retry=1: not a duration from 100ms to 10m"},
	"size":               {bind: "ipv4/127.0.0.1?rcvbuf=1", says: "option rcvbuf=1: not a size from 1KiB to 1GiB"},
	"ports":              {bind: "ipv4/127.0.0.1?fallback=2-1", says: "option fallback=2-1: not a port or a range of ports"},
	"twice":              {bind: "ipv4/127.0.0.1?share&share", says: "option share is given twice"},
	"other family":       {bind: "ipv6/127.0.0.1", says: "127.0.0.1 is not an IPv6 address; use ipv4/127.0.0.1"},
	"IPv6 with ipv4":     {bind: "ipv4/[::1]", says: "::1 is not an IPv4 address; use ipv6/::1"},
	"IPv6 with options":  {bind: "ipv6/[::1?backlog=x]", says: "option backlog=x: not a whole number"},
	"one family of dual": {bind: "dual/127.0.0.1", says: "127.0.0.1 is of one family only; use ipv4/127.0.0.1"},
	"host":               {bind: "ipv4/a,b", says: `"a,b" is not an address, an interface or a host name`},
	"mode":               {bind: "unixsock/$DIR/a.sock|1660", says: `mode "1660": not an octal number from 0200 to 0777`},
	"mode by Caddy":      {bind: "unixsock/$DIR/a.sock|0440", says: "owner of the socket requires '-w-'"},
	"mode of abstract":   {bind: "unixsock/@a|0660", says: "an abstract socket has no mode"},
	"user of abstract":   {bind: "unixsock/@a?user=root", says: "option user: an abstract socket has no file"},
	"folder":             {bind: "unixsock/$DIR/", says: "is not the path of a socket"},
	"mode of folders":    {bind: "unixsock/$DIR/a.sock?mkdir=0640", says: "option mkdir=0640: not an octal mode from 0300 to 07777"},
	"systemd name":       {bind: "systemd/a:b:c", says: "is not a FileDescriptorName= of systemd"},
	"set":                {bind: "ipv4/127.0.0.1?use=egde", global: edge, says: `unknown listener "egde": those of the global option gin are edge, files`},
	"no set":             {bind: "ipv4/127.0.0.1?use=edge", says: `unknown listener "edge": the global option gin has none`},
	"set of others":      {bind: "unixsock/$DIR/a.sock?use=edge", global: edge, says: "listener edge has option user_timeout, which network unixsock does not: allowed are backlog, "},
	"too long": {bind: "unixsock/$DIR/" + strings.Repeat("x", 108), loadOnly: true,
		says: "and the path of a socket at most 107: use a shorter one, such as /run/app.sock"},
	"no user":   {bind: "unixsock/$DIR/a.sock?user=no-such-user", loadOnly: true, says: "option user=no-such-user: "},
	"no card":   {bind: "ipv4/nocard9.invalid", loadOnly: true, says: `"nocard9.invalid" is no interface (there are lo`},
	"systemd":   {bind: "systemd/web", loadOnly: true, says: "systemd passed no sockets: the process was not started by a .socket unit"},
	"no folder": {bind: "unixsock/$DIR/none/a.sock", loadOnly: true, says: "does not exist; create it, or let mkdir=0750 create what is missing"},
}

// config returns a configuration for it, whose server has the handler gin or
// another.
func (b badAddress) config(handler string) testcaddy.Config {
	return testcaddy.Config{Global: b.global, Sites: "http://localhost:$HTTP {\nbind " + b.bind + "\n" + handler + "\n}\n"}
}

func TestValidateRefusesBadAddresses(t *testing.T) {
	t.Parallel()
	for name, bad := range badAddresses {
		if bad.loadOnly {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &testcaddy.Server{Dir: t.TempDir(), HTTPPort: 1, HTTPSPort: 2} // never started
			file := filepath.Join(s.Dir, "Caddyfile")
			if err := os.WriteFile(file, []byte(s.Expand(bad.config("gin hello"))), 0o600); err != nil {
				t.Fatal(err)
			}
			output, code := testcaddy.Run(t, s.Dir, "validate", "--config", file)
			if code != 1 || strings.Contains(output, "Valid configuration") {
				t.Errorf("exit code %d", code)
			}
			if message := onlyError(t, output); !strings.Contains(message, bad.says) {
				t.Errorf("got the message %q, which does not say %q", message, bad.says)
			}
		})
	}
}

// TestLoadRefusesBadAddresses loads each with gin and without, where Caddy asks
// the network only when it starts. What runs goes on.
func TestLoadRefusesBadAddresses(t *testing.T) {
	t.Parallel()
	path := "unixsock/$DIR/good.sock"
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\nbind " + path + "?backlog=5|0600\ngin hello\n}\n"})
	file := filepath.Join(s.Dir, "good.sock")
	before, err := os.Lstat(file)
	if err != nil {
		t.Fatal(err)
	}
	client := unixClient(t, file)
	answer := lifeGet(t, client, "http://localhost/greeting")
	loadAll := func() {
		for name, bad := range badAddresses {
			for _, handler := range []string{"gin hello", "respond hello"} {
				switch err := s.Load("text/caddyfile", s.Expand(bad.config(handler))); {
				case err == nil:
					t.Fatalf("%s with %s was loaded", name, handler)
				case !strings.Contains(err.Error(), bad.says) && (handler == "gin hello" || name != "set" && name != "no set" && name != "set of others"):
					t.Errorf("%s with %s: got the message %q, which does not say %q", name, handler, err, bad.says)
				case strings.Contains(err.Error(), "\n"):
					t.Errorf("%s: not one line: %q", name, err)
				}
			}
			if got := lifeGet(t, client, "http://localhost/greeting"); got != answer {
				t.Errorf("%s: now the answer is %q", name, got)
			}
		}
	}
	loadAll()
	goroutines, descriptors := s.Goroutines(), s.Descriptors()
	loadAll()
	after, err := os.Lstat(file)
	if err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
		t.Errorf("the socket's file was %v and is %v, %v", before, after, err)
	}
	testcaddy.Eventually(t, "no goroutine is left of the failed loads", func() bool { return s.Goroutines() <= goroutines })
	testcaddy.Eventually(t, "no descriptor is left of the failed loads", func() bool { return s.Descriptors() <= descriptors })
}
