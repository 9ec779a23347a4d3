package listeners

import (
	"io/fs"
	"runtime"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		network, host string
		want          string // host
		mode          fs.FileMode
		text          string // canonical
	}{
		{IPv4, "", "", 0, ""},
		{IPv4, "*", "", 0, ""},
		{IPv4, "0.0.0.0", "", 0, ""},
		{IPv4, "192.0.2.10", "192.0.2.10", 0, "192.0.2.10"},
		{IPv4, "eth0.7?maxconn=5", "eth0.7", 0, "eth0.7?maxconn=5"},
		{IPv4, "eth0?retry=60s&fallback=8081-8081", "eth0", 0, "eth0?fallback=8081&retry=1m"},
		{IPv6, "::", "", 0, ""},
		{IPv6, "[::1]?backlog=0x10", "::1", 0, "::1?backlog=16"},
		{IPv6, "2001:DB8:0::1", "2001:db8::1", 0, "2001:db8::1"},
		{IPv6, "fe80::1%eth0?share=off", "fe80::1%eth0", 0, "fe80::1%eth0?share=off"},
		{Dual, "::", "", 0, ""},
		{Dual, "0.0.0.0?share=on", "", 0, "?share"},
		{Dual, "localhost", "localhost", 0, "localhost"},
		{UnixSock, "/run/a.sock", "/run/a.sock", 0o660, "/run/a.sock"},
		{UnixSock, "/run/a.sock|660", "/run/a.sock", 0o660, "/run/a.sock"},
		{UnixSock, "a b?user=www-data&mkdir=750|0222", "a b", 0o222, "a b?mkdir=0750&user=www-data|0222"},
		{UnixSock, "@name?maxconn=9", "@name", 0, "@name?maxconn=9"},
		{Systemd, "web.socket?user_timeout=90s", "web.socket", 0, "web.socket?user_timeout=1m30s"},
	} {
		if _, query, _ := strings.Cut(c.host, "?"); query != "" && runtime.GOOS != "linux" {
			continue // not every system has every option
		}
		a, err := Parse(c.network, c.host)
		if err != nil {
			t.Error(err)
			continue
		}
		if a.Host != c.want || a.Mode != c.mode || a.HostText() != c.text {
			t.Errorf("%s/%s is %#v, written as %q", c.network, c.host, a, a.HostText())
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ network, host, says string }{
		{"tcp", "", `unknown network "tcp": allowed are ipv4, ipv6, dual, unixsock, systemd`},
		{IPv4, "::1", "::1 is not an IPv4 address; use ipv6/::1"},
		{IPv6, "127.0.0.1", "127.0.0.1 is not an IPv6 address; use ipv4/127.0.0.1"},
		{IPv6, "::ffff:127.0.0.1", "use ipv4/127.0.0.1"},
		{Dual, "127.0.0.1", "127.0.0.1 is of one family only; use ipv4/127.0.0.1"},
		{Dual, "::1", "use ipv6/::1"},
		{IPv4, "a b", "is not an address, an interface or a host name"},
		{IPv4, "[eth0", "is not an address, an interface or a host name"},
		{IPv6, "fe80::1%a/b", "is not the zone of an address"},
		{IPv4, "eth0?backlog", "option backlog: a value is missing: not a whole number from 1 to 1048576"},
		{IPv4, "eth0?backlog=", "option backlog: a value is missing after the equals sign"},
		{IPv4, "eth0?backlog=0", "option backlog=0: not a whole number from 1 to 1048576"},
		{IPv4, "eth0?backlog=1&backlog=2", "option backlog is given twice"},
		{IPv4, "eth0?backlogg=1", `unknown option "backlogg": allowed are backlog, defer_accept, device, `},
		{IPv4, "eth0?user=root", `unknown option "user": allowed are backlog, `},
		{IPv4, "eth0?freebind=yes", "option freebind=yes: allowed are on and off"},
		{IPv4, "eth0?retry=5", "option retry=5: not a duration from 100ms to 10m"},
		{IPv4, "eth0?fallback=9-8", "option fallback=9-8: not a port or a range of ports"},
		{IPv4, "eth0?tos=256", "not a whole number from 0 to 255"},
		{IPv4, "eth0?rcvbuf=5", "not a size from 1KiB to 1GiB"},
		{IPv4, "eth0?keepalive=10h", ", or off"},
		{UnixSock, "", "a path is missing"},
		{UnixSock, "@", "a path is missing"},
		{UnixSock, "/run/", `"/run/" is not the path of a socket`},
		{UnixSock, "/a|0860", `mode "0860": not an octal number from 0200 to 0777 that lets the owner write`},
		{UnixSock, "/a|0440", "lets the owner write"},
		{UnixSock, "/a|1660", "from 0200 to 0777"},
		{UnixSock, "/a?mkdir=0640", "option mkdir=0640: not an octal mode from 0300 to 07777"},
		{UnixSock, "/a?freebind", `unknown option "freebind": allowed are backlog, group, maxconn, mkdir, use, user`},
		{UnixSock, "@a|0660", "an abstract socket has no mode"},
		{UnixSock, "@a?mkdir=0750", "option mkdir: an abstract socket has no file"},
		{Systemd, "", "is not a FileDescriptorName= of systemd"},
		{Systemd, "a:b", "is not a FileDescriptorName= of systemd"},
		{Systemd, "web?use=edge", `unknown option "use": allowed are backlog, `},
	} {
		if _, err := Parse(c.network, c.host); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s/%s: got the error %v, want %q", c.network, c.host, err, c.says)
		}
	}
}

// TestSystemdNameWithBrackets guards names that systemd allows and Caddy cannot
// read with a port behind them.
func TestSystemdNameWithBrackets(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a[b", "a]b", "[web]"} {
		if _, err := Parse(Systemd, name); err == nil || !strings.Contains(err.Error(), "has brackets") {
			t.Errorf("%s: got the error %v", name, err)
		}
	}
}
