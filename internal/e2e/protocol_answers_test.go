package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

func protocolPing(t *testing.T, p protocolSite) {
	got := p.get(t, "/ping")
	if got.StatusCode != http.StatusOK || got.text != `{"message":"pong"}` ||
		got.Header.Get("Content-Type") != "application/json; charset=utf-8" || got.Header.Get("Server") != "Caddy" {
		t.Errorf("got %d %q %v", got.StatusCode, got.text, got.Header)
	}
	p.wantGzip(t, got.Response)
	// Gin has no such route, and answers so itself.
	if got := p.get(t, "/no/such/route"); got.StatusCode != http.StatusNotFound || got.text != "404 page not found" {
		t.Errorf("got %d %q", got.StatusCode, got.text)
	}
}

func protocolGreets(t *testing.T, p protocolSite) {
	if got := p.get(t, "/greeting"); got.text != protocolGreeting {
		t.Errorf("got %q", got.text)
	}
}

func protocolUsers(t *testing.T, p protocolSite) {
	for path, want := range map[string]string{"/users/42": "42", "/users/%C3%BC%20x": "ü x"} {
		if got := p.get(t, path); got.text != `{"id":"`+want+`"}` {
			t.Errorf("%s: got %q", path, got.text)
		}
	}
}

// protocolIdentity is the answer of /whoami.
type protocolIdentity struct {
	ClientIP   string `json:"client_ip"`
	RemoteAddr string `json:"remote_addr"`
	LocalAddr  string `json:"local_addr"`
	Scheme     string `json:"scheme"`
	Host       string `json:"host"`
	Proto      string `json:"proto"`
	TLS        bool   `json:"tls"`
	App        string `json:"app"`
	Route      string `json:"route"`
	Prefix     string `json:"prefix"`
	RequestID  string `json:"request_id"`
}

func (p protocolSite) whoami(t *testing.T, header ...string) protocolIdentity {
	t.Helper()
	got := p.get(t, "/whoami", header...)
	var me protocolIdentity
	if err := json.Unmarshal([]byte(got.text), &me); err != nil || got.StatusCode != http.StatusOK {
		t.Fatalf("got %d %q, %v", got.StatusCode, got.text, err)
	}
	return me
}

// port is the one that clients of the protocol are told.
func (p protocolSite) port() int {
	if p.protocol == "http" {
		return p.HTTPPort
	}
	return p.HTTPSPort
}

func protocolWhoami(t *testing.T, p protocolSite) {
	me := p.whoami(t)
	remote, err := netip.ParseAddrPort(me.RemoteAddr)
	if err != nil || !remote.Addr().IsLoopback() || me.ClientIP != remote.Addr().String() {
		t.Errorf("got client %q at %q, %v", me.ClientIP, me.RemoteAddr, err)
	}
	if _, port, err := net.SplitHostPort(me.LocalAddr); err != nil || port != strconv.Itoa(p.port()) {
		t.Errorf("local address is %q, %v; want port %d", me.LocalAddr, err, p.port())
	}
	if len(me.RequestID) != 36 {
		t.Errorf("request ID is %q", me.RequestID)
	}
	me.ClientIP, me.RemoteAddr, me.LocalAddr, me.RequestID = "", "", "", ""
	want := protocolIdentity{
		Scheme: "https", TLS: true, Host: fmt.Sprintf("localhost:%d", p.port()),
		Proto: map[string]string{"http": "HTTP/1.1", "https": "HTTP/1.1", "h2": "HTTP/2.0", "h3": "HTTP/3.0"}[p.protocol],
		App:   "hello", Route: "/whoami",
	}
	if p.protocol == "http" {
		want.Scheme, want.TLS = "http", false
	}
	if me != want {
		t.Errorf("got %+v, want %+v", me, want)
	}
}

func protocolPage(t *testing.T, p protocolSite) {
	got := p.get(t, "/page?name=%3Cyou%3E")
	if !strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") ||
		!strings.Contains(got.text, "&lt;you&gt;") || !strings.Contains(got.text, "&lt;Gin&gt; &amp; Caddy") {
		t.Errorf("got %v %q", got.Header, got.text)
	}
	p.wantGzip(t, got.Response)
}

func protocolStatic(t *testing.T, p protocolSite) {
	file, err := os.ReadFile("../../examples/hello/static/style.css")
	if err != nil {
		t.Fatal(err)
	}
	got := p.get(t, "/static/style.css")
	if got.text != string(file) || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/css") {
		t.Errorf("got %d bytes, %v", len(got.text), got.Header)
	}
	p.wantGzip(t, got.Response)
	length := strconv.Itoa(len(file))
	if sent := got.Header.Get("Content-Length"); !p.gzip && sent != length {
		t.Errorf("content length is %q, want %s", sent, length)
	}
	if got := p.ask(t, http.MethodHead, "/static/style.css"); got.StatusCode != http.StatusOK || got.text != "" ||
		!p.gzip && got.Header.Get("Content-Length") != length {
		t.Errorf("HEAD: got %d %q %v", got.StatusCode, got.text, got.Header)
	}
	if got := p.get(t, "/static/style.css", "Range", "bytes=10-19"); got.StatusCode != http.StatusPartialContent || got.text != string(file[10:20]) {
		t.Errorf("range: got %d %q", got.StatusCode, got.text)
	}
	if got := p.get(t, "/static/none.css"); got.StatusCode != http.StatusNotFound || got.text != "no such file\n" {
		t.Errorf("got %d %q", got.StatusCode, got.text)
	}
}

func protocolBytes(t *testing.T, p protocolSite) {
	for _, n := range []int{0, 1, 1<<20 + 7} {
		got := p.get(t, fmt.Sprintf("/bytes?n=%d", n))
		if len(got.text) != n || got.ContentLength != int64(n) {
			t.Errorf("got %d bytes with length %d, want %d", len(got.text), got.ContentLength, n)
		}
		for i := range len(got.text) {
			if got.text[i] != byte(i%251) {
				t.Fatalf("byte %d is %d", i, got.text[i])
			}
		}
	}
}

func protocolCounter(t *testing.T, p protocolSite) {
	first := p.get(t, "/counter")
	cookies := first.Cookies()
	if len(cookies) != 1 || cookies[0].Secure == (p.protocol == "http") || cookies[0].Path != "/" {
		t.Fatalf("got cookies %v", cookies)
	}
	second := p.get(t, "/counter", "Cookie", cookies[0].Name+"="+cookies[0].Value)
	if !strings.Contains(first.text, `"visits":1}`) || !strings.Contains(second.text, `"visits":2}`) {
		t.Errorf("got %s, then %s", first.text, second.text)
	}
}

func protocolSlow(t *testing.T, p protocolSite) {
	if got := p.get(t, "/slow?d=50ms"); got.StatusCode != http.StatusOK || !strings.Contains(got.text, `"d":"50ms"`) {
		t.Errorf("got %d %q", got.StatusCode, got.text)
	}
}

func protocolFail(t *testing.T, p protocolSite) {
	for _, status := range []int{418, 503} {
		if got := p.get(t, fmt.Sprintf("/fail?status=%d", status)); got.StatusCode != status || got.text != "" {
			t.Errorf("got %d %q, want %d", got.StatusCode, got.text, status)
		}
	}
}

func protocolPanic(t *testing.T, p protocolSite) {
	if got := p.get(t, "/panic"); got.StatusCode != http.StatusInternalServerError || got.text != "" {
		t.Errorf("got %d %q", got.StatusCode, got.text)
	}
	// the next request of the same connection finds all in order
	protocolPing(t, p)
}
