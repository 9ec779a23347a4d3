//go:build linux

package e2e

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// A matcher among a server's own routes is provisioned before Caddy says which
// server that is, and here is no gin handler that would know.
func TestUnixPeerAloneOnAServer(t *testing.T) {
	t.Parallel()
	me := strconv.Itoa(os.Geteuid())
	for name, matcher := range map[string]string{
		"matcher":    "unix_peer uid " + me,
		"expression": "expression unix_peer('uid', '" + me + "')",
		"asked":      "expression unix_peer('uid', {http.request.header.Ask})",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := testcaddy.Config{Sites: `
http:// {
	bind unix/$DIR/app.sock
	@me ` + matcher + `
	respond @me "me {http.gin.peer.uid}"
	respond "other {http.gin.peer.uid}"
}
`}
			s := testcaddy.Start(t, config)
			for _, moment := range []string{"at first", "after a reload"} {
				text := peerText(t, filepath.Join(s.Dir, "app.sock"), "", "Ask: "+me+"\r\n")
				if !strings.HasSuffix(text, "\r\n\r\nme "+me) {
					t.Errorf("%s: got %q", moment, text)
				}
				if err := s.Reload(config); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// peerText makes a request over a connection of its own, on which preamble
// comes first, and returns the whole answer.
func peerText(t *testing.T, socket, preamble, header string) string {
	t.Helper()
	// a server of a configuration that has just been replaced may have
	// accepted the connection, and drops it
	for range 10 {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(conn, preamble+"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"+header+"\r\n")
		text, err := io.ReadAll(conn)
		conn.Close()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("no answer in time")
		}
		if len(text) > 0 {
			return string(text)
		}
	}
	t.Fatal("no answer")
	return ""
}

// Whatever lies around the connection, the kernel is asked about the socket.
func TestUnixPeerThroughListenerWrappers(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{
		Global: `
	auto_https disable_redirects
	servers unix/$DIR/h1.sock {
		protocols h1
	}
	servers unix/$DIR/proxy.sock {
		listener_wrappers {
			proxy_protocol {
				timeout 5m
			}
		}
	}
	servers unix/$DIR/redirect.sock {
		listener_wrappers {
			http_redirect
			tls
		}
	}
`,
		Sites: `
(peer) {
	@me unix_peer uid ` + strconv.Itoa(os.Geteuid()) + `
	header @me Match me
	gin hello
}
http://localhost {
	bind unix/$DIR/h1.sock
	import peer
}
http://localhost {
	bind unix/$DIR/proxy.sock
	import peer
}
https://localhost {
	bind unix/$DIR/redirect.sock
	tls internal
	import peer
}
`})
	me := `"peer":{"uid":"` + strconv.Itoa(os.Geteuid()) + `"`
	check := func(name, text string) {
		t.Helper()
		if !strings.Contains(text, "\r\nMatch: me\r\n") || !strings.Contains(text, me) {
			t.Errorf("%s: got %q", name, text)
		}
	}
	check("HTTP/1 only", peerText(t, filepath.Join(s.Dir, "h1.sock"), "", ""))

	// a client that says nothing must not keep others from being accepted
	proxied := filepath.Join(s.Dir, "proxy.sock")
	silent, err := net.Dial("unix", proxied)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	text := peerText(t, proxied, "PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n", "")
	check("PROXY protocol", text)
	if !strings.Contains(text, `"remote_addr":"203.0.113.9:4711"`) {
		t.Errorf("the PROXY header had no effect: %q", text)
	}

	redirect := filepath.Join(s.Dir, "redirect.sock")
	peerAwaitCertificate(t, redirect)
	conn, err := tls.Dial("unix", redirect, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}) //nolint:gosec // as above
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(conn, "GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	answer, _ := io.ReadAll(conn)
	check("http_redirect", string(answer))
}

// The log is written after the request.
func TestUnixPeerInTheLog(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: `
http://localhost {
	bind unix/$DIR/app.sock
	log
	log_append peer {http.gin.peer.uid}
	gin hello
}
`})
	peerText(t, filepath.Join(s.Dir, "app.sock"), "", "")
	if !s.WaitLog(func(e testcaddy.Entry) bool {
		return e.Msg == "handled request" && e.Fields["peer"] == strconv.Itoa(os.Geteuid())
	}) {
		t.Errorf("not in the log:\n%s", s.RawLog())
	}
}

func TestUnixPeerRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ matcher, want string }{
		"nothing":         {`"unix_peer": {}`, "unix_peer: nothing to match; want uid, gid, user or group"},
		"empty lists":     {`"unix_peer": {"uid": [], "user": []}`, "unix_peer: nothing to match"},
		"negative":        {`"unix_peer": {"uid": [-1]}`, "unix_peer: uid -1 is not a number from 0 to 4294967294"},
		"too large":       {`"unix_peer": {"gid": [4294967295]}`, "unix_peer: gid 4294967295 is not a number from 0 to 4294967294"},
		"unknown user":    {`"unix_peer": {"user": ["root", "no-such-user"]}`, `unix_peer: there is no user \"no-such-user\" on this system`},
		"unknown group":   {`"unix_peer": {"group": ["no-such-group"]}`, `unix_peer: there is no group \"no-such-group\" on this system`},
		"number for name": {`"unix_peer": {"user": ["4000000000"]}`, `there is no user \"4000000000\" on this system; want a name that it knows, or a number with uid`},
		"unknown field":   {`"unix_peer": {"pid": [1]}`, `unknown field \"pid\"`},
		"expression":      {`"expression": "unix_peer('pid', '1')"`, `unix_peer: unknown field \"pid\"; want one of uid, gid, user, group`},
		"two in one":      {`"expression": "unix_peer('user', 'root', 'group', 'daemon')"`, `unix_peer: \"group\" after \"user\": one line takes one field`},
		"no arguments":    {`"expression": "unix_peer_match_request_list(req, [])"`, `unix_peer: nothing to match; want one of uid, gid, user, group`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			config := `{"apps": {"http": {"servers": {"s": {"listen": [":8080"], "routes": [{"match": [{` + test.matcher + `}]}]}}}}}`
			file := filepath.Join(dir, "caddy.json")
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			out, code := testcaddy.Run(t, dir, "validate", "--config", file)
			if code == 0 || !strings.Contains(out, test.want) {
				t.Errorf("exit code %d:\n%s", code, out)
			}
		})
	}
}
