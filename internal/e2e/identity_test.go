package e2e

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

const identitySites = `
http://localhost:$HTTP, https://localhost:$HTTPS {
	tls internal
	gin hello
}
`

// identityServers is a global option.
func identityServers(options string) string { return "\tservers {\n\t\t" + options + "\n\t}\n" }

// identityForgeries are headers, as pairs, by which a client may claim to be
// another, or to have come another way.
var identityForgeries = map[string][]string{
	"X-Forwarded-For":           {"X-Forwarded-For", "203.0.113.66"},
	"X-Forwarded-For, many":     {"X-Forwarded-For", "203.0.113.66, 127.0.0.1", "X-Forwarded-For", "203.0.113.67"},
	"X-Real-IP":                 {"X-Real-IP", "203.0.113.66"},
	"Forwarded":                 {"Forwarded", `for=203.0.113.66;proto=https;host=evil.example`},
	"the bridge's own":          {"Caddy-Gin-Client-Ip", "203.0.113.66"},
	"the bridge's own, twice":   {"caddy-gin-client-ip", "203.0.113.66", "CADDY-GIN-CLIENT-IP", "203.0.113.67"},
	"the platforms of Gin":      {"CF-Connecting-IP", "203.0.113.66", "X-Appengine-Remote-Addr", "203.0.113.66", "Fly-Client-IP", "203.0.113.66"},
	"X-Forwarded-Proto https":   {"X-Forwarded-Proto", "https"},
	"X-Forwarded-Proto http":    {"X-Forwarded-Proto", "http"},
	"X-Forwarded-Host":          {"X-Forwarded-Host", "evil.example"},
	"X-Forwarded-Prefix":        {"X-Forwarded-Prefix", "/evil"},
	"X-Forwarded-Prefix, host":  {"X-Forwarded-Prefix", "//evil.example"},
	"X-Forwarded-Prefix, slash": {"X-Forwarded-Prefix", `/\evil.example`},
	"all": {
		"X-Forwarded-For", "203.0.113.66", "X-Real-IP", "203.0.113.66", "Forwarded", "for=203.0.113.66",
		"Caddy-Gin-Client-Ip", "203.0.113.66", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.example",
		"X-Forwarded-Prefix", "//evil.example",
	},
}

// identityOf asks who the client is, leaving out what differs from request to
// request.
func identityOf(t *testing.T, p protocolSite, header ...string) protocolIdentity {
	t.Helper()
	me := identityWithoutID(t, p, header...)
	me.RemoteAddr = ""
	return me
}

func identityWithoutID(t *testing.T, p protocolSite, header ...string) protocolIdentity {
	t.Helper()
	me := p.whoami(t, header...)
	me.RequestID = ""
	return me
}

// identityRedirect returns where Gin redirects a path with a slash too many.
func identityRedirect(t *testing.T, p protocolSite, header ...string) string {
	t.Helper()
	got := p.get(t, "/ping/", header...)
	if got.StatusCode != http.StatusMovedPermanently {
		t.Fatalf("got %d, want a redirect", got.StatusCode)
	}
	return got.Header.Get("Location")
}

func TestForgedHeadersChangeNothing(t *testing.T) {
	t.Parallel()
	for name, global := range map[string]string{
		"no trusted proxies":    "",
		"another trusted proxy": identityServers("trusted_proxies static 192.0.2.0/24"),
		"a trusted Unix socket": identityServers("trusted_proxies_unix"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, testcaddy.Config{Global: global, Sites: identitySites})
			for _, protocol := range testcaddy.Protocols {
				p := protocolSite{s, protocol, protocolClient(t, protocol), false}
				protocolWhoami(t, p)
				honest, page := identityOf(t, p), p.get(t, "/page")
				for forgery, header := range identityForgeries {
					if got := identityOf(t, p, header...); got != honest {
						t.Errorf("%s, %s: got %+v, want %+v", protocol, forgery, got, honest)
					}
					if got := identityRedirect(t, p, header...); got != "/ping" {
						t.Errorf("%s, %s: redirected to %q", protocol, forgery, got)
					}
					if got := p.get(t, "/page", header...); got.text != page.text {
						t.Errorf("%s, %s: the page is %q, want %q", protocol, forgery, got.text, page.text)
					}
					cookies := p.get(t, "/counter", header...).Cookies()
					if len(cookies) != 1 || cookies[0].Secure != honest.TLS || cookies[0].Path != "/" {
						t.Errorf("%s, %s: got cookies %v", protocol, forgery, cookies)
					}
				}
			}
		})
	}
}

func TestTrustedProxySpeaksForItsClient(t *testing.T) {
	t.Parallel()
	for name, ranges := range map[string]string{
		"loopback":       "127.0.0.1/8 ::1/128",
		"private_ranges": "private_ranges",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, testcaddy.Config{Global: identityServers("trusted_proxies static " + ranges), Sites: identitySites})
			for _, protocol := range testcaddy.Protocols {
				t.Run(protocol, func(t *testing.T) {
					identityThroughProxy(t, protocolSite{s, protocol, protocolClient(t, protocol), false})
				})
			}
		})
	}
}

// identityThroughProxy has the client play the trusted proxy.
func identityThroughProxy(t *testing.T, p protocolSite) {
	protocolWhoami(t, p) // a proxy that names no client is one
	proxy := identityOf(t, p)
	other := map[string]string{"http": "https", "https": "http"}[proxy.Scheme]
	tests := []struct {
		name   string
		header []string
		want   func(*protocolIdentity)
	}{
		{"a client", []string{"X-Forwarded-For", "203.0.113.9"}, func(me *protocolIdentity) { me.ClientIP = "203.0.113.9" }},
		{"an IPv6 client", []string{"X-Forwarded-For", "2001:db8::9"}, func(me *protocolIdentity) { me.ClientIP = "2001:db8::9" }},
		{"a chain", []string{"X-Forwarded-For", "203.0.113.9, 10.0.0.1"}, func(me *protocolIdentity) { me.ClientIP = "203.0.113.9" }},
		{"no address", []string{"X-Forwarded-For", "nobody"}, nil},
		{"a header not to look at", []string{"X-Real-IP", "203.0.113.66"}, nil},
		{"the bridge's own", []string{"Caddy-Gin-Client-Ip", "203.0.113.66"}, nil},
		{"the bridge's own beside", []string{"X-Forwarded-For", "203.0.113.9", "Caddy-Gin-Client-Ip", "203.0.113.66"},
			func(me *protocolIdentity) { me.ClientIP = "203.0.113.9" }},
		{"the other scheme", []string{"X-Forwarded-Proto", other}, func(me *protocolIdentity) { me.Scheme = other }},
		{"the same scheme", []string{"X-Forwarded-Proto", proxy.Scheme}, nil},
		{"no scheme", []string{"X-Forwarded-Proto", "javascript"}, nil},
		{"a prefix", []string{"X-Forwarded-Prefix", "/app"}, func(me *protocolIdentity) { me.Prefix = "/app" }},
	}
	for _, tt := range tests {
		want := proxy
		if tt.want != nil {
			tt.want(&want)
		}
		if got := identityOf(t, p, tt.header...); got != want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, want)
		}
		if got := identityRedirect(t, p, tt.header...); got != want.Prefix+"/ping" {
			t.Errorf("%s: redirected to %q", tt.name, got)
		}
	}
	// Also a proxy may pass on what its client made up.
	for _, prefix := range []string{"//evil.example", `/\evil.example`, `\\evil.example`, "https://evil.example"} {
		got := identityRedirect(t, p, "X-Forwarded-Prefix", prefix)
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, `/\`) {
			t.Errorf("the prefix %q redirects to %q", prefix, got)
		}
	}
	cookies := p.get(t, "/counter", "X-Forwarded-Proto", other).Cookies()
	if len(cookies) != 1 || cookies[0].Secure != (other == "https") {
		t.Errorf("got cookies %v of a client of %s", cookies, other)
	}
}

// identityUnix starts a server on a Unix socket, with a proxy before it, and
// returns a client that is directly on the socket.
func identityUnix(t *testing.T, global string) (*testcaddy.Server, protocolSite) {
	t.Helper()
	s := testcaddy.Start(t, testcaddy.Config{Global: global, Sites: `
http://localhost {
	bind unix/$DIR/site.sock
	gin hello
}
http://localhost:$HTTP, https://localhost:$HTTPS {
	tls internal
	reverse_proxy unix/$DIR/site.sock
}
`})
	socket := filepath.Join(s.Dir, "site.sock")
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, protocolSite{s, "http", client, false}
}

// identityOfSocket is what is known of a client that is only known to have
// connected to the socket.
func identityOfSocket(s *testcaddy.Server) protocolIdentity {
	return protocolIdentity{
		LocalAddr: filepath.Join(s.Dir, "site.sock"), RemoteAddr: "@", Scheme: "http", Proto: "HTTP/1.1",
		Host: "localhost:" + strconv.Itoa(s.HTTPPort), App: "hello", Route: "/whoami",
	}
}

func TestUnixSocketHasNoClientIP(t *testing.T) {
	t.Parallel()
	s, p := identityUnix(t, "")
	want := identityOfSocket(s)
	if me := identityWithoutID(t, p); me != want {
		t.Errorf("got %+v, want %+v", me, want)
	}
	for forgery, header := range identityForgeries {
		if me := identityWithoutID(t, p, header...); me != want {
			t.Errorf("%s: got %+v, want %+v", forgery, me, want)
		}
		if got := identityRedirect(t, p, header...); got != "/ping" {
			t.Errorf("%s: redirected to %q", forgery, got)
		}
	}
}

func TestTrustedUnixSocketSpeaksForItsClient(t *testing.T) {
	t.Parallel()
	s, p := identityUnix(t, identityServers("trusted_proxies_unix"))
	tests := []struct {
		name   string
		header []string
		ip     string
		scheme string
	}{
		{"nothing", nil, "", "http"},
		{"a client", []string{"X-Forwarded-For", "203.0.113.9"}, "203.0.113.9", "http"},
		{"no address", []string{"X-Forwarded-For", "@"}, "", "http"},
		{"a client and its scheme", []string{"X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https"}, "203.0.113.9", "https"},
		{"headers not to look at", []string{"X-Real-IP", "203.0.113.66", "Caddy-Gin-Client-Ip", "203.0.113.66"}, "", "http"},
	}
	for _, tt := range tests {
		want := identityOfSocket(s)
		want.ClientIP, want.Scheme = tt.ip, tt.scheme
		if me := identityWithoutID(t, p, tt.header...); me != want {
			t.Errorf("%s: got %+v, want %+v", tt.name, me, want)
		}
	}
}

func TestRealProxyOnUnixSocket(t *testing.T) {
	t.Parallel()
	s, _ := identityUnix(t, identityServers("trusted_proxies_unix"))
	for _, protocol := range testcaddy.Protocols {
		p := protocolSite{s, protocol, protocolClient(t, protocol), false}
		// reverse_proxy does not pass on what an untrusted client claims.
		for _, header := range [][]string{nil, identityForgeries["all"][:2], identityForgeries["the bridge's own"]} {
			me := p.whoami(t, header...)
			ip := net.ParseIP(me.ClientIP)
			if ip == nil || !ip.IsLoopback() || me.RemoteAddr != "@" || (me.Scheme == "http") != (protocol == "http") || me.TLS {
				t.Errorf("%s with %q: got %+v", protocol, header, me)
			}
		}
	}
}
