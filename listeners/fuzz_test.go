package listeners

import (
	"maps"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// fuzzHosts are hosts of all networks: what is right and what is nearly right.
var fuzzHosts = []string{
	"", "*", "0.0.0.0", "127.0.0.1", "192.0.2.99?freebind", "::", "::1", "[::1]", "[::1]?share", "fe80::1%eth0", "fe80::1%eth0?tos=0x10",
	"::ffff:127.0.0.1", "2001:db8::1?backlog=5&maxconn=7", "eth0", "eth0?use=edge", "eth0.10?device=eth0.10", "localhost", "example.com",
	"?backlog=1048576&user_timeout=30s&defer_accept=1m30s", "?retry=100ms&fallback=8081-8090", "?keepalive=off", "?keepalive=9h",
	"?rcvbuf=256KiB&sndbuf=1e6", "?mptcp=off&transparent&mark=0xff", "?fastopen", "?fastopen=256", "?backlog", "?backlog=", "?backlog=5&backlog=6", "?&", "eth0?",
	"/run/shop/app.sock", "/run/shop/app.sock?user=shop&group=www-data&mkdir=0750|0660", "app.sock|0222", "./a b|777", "@name", "@name?backlog=5", "@name|0660", "@", "/run/", "/a|b|0660",
	"/a?mkdir=02750", "\xff|0600", "web", "web?maxconn=5", "a[b]c", "web.socket", "connection", "LISTEN_FD_3",
}

func FuzzParse(f *testing.F) {
	for _, network := range Networks {
		for _, host := range fuzzHosts {
			f.Add(network, host)
		}
	}
	f.Fuzz(func(t *testing.T, network, host string) {
		a, err := Parse(network, host)
		if err != nil {
			if text := err.Error(); text == "" {
				t.Error("an error without a text")
			}
			return
		}
		text := a.HostText()
		again, err := Parse(network, text)
		if err != nil {
			t.Fatalf("%q is read as %#v, which is written as %q: %v", host, a, text, err)
		}
		if !again.Equal(a) || !a.Equal(again) {
			t.Fatalf("%q is read as %#v, and what is written of it, %q, as %#v", host, a, text, again)
		}
		if twice := again.HostText(); twice != text {
			t.Fatalf("%q is written as %q first and as %q then", host, text, twice)
		}
		throughCaddy(t, a, a.At(80))
		throughCaddy(t, a, caddy.JoinNetworkAddress(network, text, "80"))
		if !strings.ContainsAny(host, "[]") || network == UnixSock { // brackets are what Caddy puts around
			throughCaddy(t, a, caddy.JoinNetworkAddress(network, host, "80"))
		}
	})
}

// throughCaddy has Caddy read an address, as it does with those of a
// configuration.
func throughCaddy(t *testing.T, want Address, text string) {
	t.Helper()
	na, err := caddy.ParseNetworkAddress(text)
	if err != nil {
		t.Fatalf("Caddy does not read %q: %v", text, err)
	}
	got, err := Parse(na.Network, na.Host)
	if err != nil {
		t.Fatalf("Caddy reads %q as %q: %v", text, na.Host, err)
	}
	if !got.Equal(want) {
		t.Fatalf("through Caddy, %q is %#v and not %#v", text, got, want)
	}
	if want.Network != UnixSock && (na.StartPort != 80 || na.EndPort != 80) {
		t.Fatalf("Caddy reads %q with ports %d to %d", text, na.StartPort, na.EndPort)
	}
}

func FuzzParseOptions(f *testing.F) {
	for _, network := range append([]string{""}, Networks...) {
		for _, host := range fuzzHosts {
			if _, query, ok := strings.Cut(host, "?"); ok {
				f.Add(network, query)
			}
		}
	}
	f.Fuzz(func(t *testing.T, network, query string) {
		options, err := ParseOptions(network, query)
		if err != nil {
			return
		}
		text := options.String()
		again, err := ParseOptions(network, text)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", query, text, err)
		}
		if !maps.Equal(options, again) {
			t.Fatalf("%q is %v, and what is written of it, %q, is %v", query, options, text, again)
		}
		if differ := options.changed(again); len(differ) > 0 {
			t.Fatalf("%q: %v differ from themselves", query, differ)
		}
		if len(options.Map()) != len(options) {
			t.Fatalf("%q: %v has %v for the log", query, options, options.Map())
		}
	})
}
