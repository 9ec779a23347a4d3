//go:build linux

package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// peerDirectives show which matchers match, what the placeholders say when one
// was evaluated, and what the app knows.
const peerDirectives = `
	route {
		@root unix_peer user root
		@nobody unix_peer uid 65534
		@either unix_peer uid 0 1234
		@names_too unix_peer {
			uid 1234
			user root
		}
		@group unix_peer group daemon
		@both unix_peer {
			uid 65534
			gid 1
		}
		@stranger not unix_peer uid 0
		@expression expression unix_peer('user', 'root') || unix_peer('gid', '1', '2')
		@asked expression unix_peer('uid', {http.request.header.Ask})
		header @root +Match root
		header @nobody +Match nobody
		header @either +Match either
		header @names_too +Match names_too
		header @group +Match group
		header @both +Match both
		header @stranger +Match stranger
		header @expression +Match expression
		header @asked +Match asked
		header Peer "{http.gin.peer.uid}/{http.gin.peer.gid}/{http.gin.peer.pid}"
		gin hello
	}
`

// peerClient is who a client is, and which matchers of peerDirectives it
// should match.
type peerClient struct {
	uid, gid int
	matches  string
}

var peerClients = []peerClient{
	{0, 0, "root either names_too expression"},
	{65534, 65534, "nobody stranger"},
	{65534, 1, "nobody group both stranger expression"},
	{1234, 65534, "either names_too stranger"},
	{4321, 1, "group stranger expression"},
	{4321, 4321, "stranger asked"},
	{0, 1, "root either names_too group expression"},
}

// peerTransport speaks one protocol over the socket, as another user.
func peerTransport(t *testing.T, protocol, socket string, uid, gid int) *http.Client {
	t.Helper()
	transport := &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return testcaddy.DialAs(socket, uid, gid) },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the CA is made by the server under test
		Protocols:       new(http.Protocols),
	}
	switch protocol {
	case "http", "https":
		transport.Protocols.SetHTTP1(true)
	case "h2":
		transport.Protocols.SetHTTP2(true)
	case "h2c":
		transport.Protocols.SetUnencryptedHTTP2(true)
	default:
		t.Fatalf("unknown protocol %q", protocol)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// peerAnswer is what the sites of peerDirectives answer.
type peerAnswer struct {
	matches, peer string
	proto         string
	reused        bool // the request came over a connection that had others
	app           map[string]string
}

func peerGet(t *testing.T, client *http.Client, url string) peerAnswer {
	t.Helper()
	var answer peerAnswer
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { answer.reused = info.Reused }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Ask", "4321")
	if strings.HasSuffix(t.Name(), "4321:1") {
		req.Header.Set("Ask", "1")
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var me struct {
		Peer map[string]string `json:"peer"`
	}
	if err := json.Unmarshal(body, &me); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %s %q, %v", resp.Status, body, err)
	}
	answer.matches = strings.Join(resp.Header.Values("Match"), " ")
	answer.peer, answer.proto, answer.app = resp.Header.Get("Peer"), resp.Proto, me.Peer
	return answer
}

func TestUnixPeer(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	for _, network := range []string{"unix", "unixsock"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, testcaddy.Config{
				Global: "\tauto_https disable_redirects\n\tservers {\n\t\tprotocols h1 h2 h2c\n\t}\n",
				Sites: "http://localhost {\n\tbind " + network + "/$DIR/app.sock|0666\n" + peerDirectives + "}\n" +
					"https://localhost {\n\tbind " + network + "/$DIR/tls.sock|0666\n\ttls internal\n" + peerDirectives + "}\n" +
					"http://localhost:$HTTP {\n" + peerDirectives + "}\n",
			})
			if err := os.Chmod(s.Dir, 0o755); err != nil { //nolint:gosec // clients of other users are to get in
				t.Fatal(err)
			}
			plain, encrypted := filepath.Join(s.Dir, "app.sock"), filepath.Join(s.Dir, "tls.sock")
			peerAwaitCertificate(t, encrypted)
			for _, protocol := range []string{"http", "h2c", "https", "h2"} {
				socket, url := plain, "http://localhost/whoami"
				if protocol == "https" || protocol == "h2" {
					socket, url = encrypted, "https://localhost/whoami"
				}
				for _, c := range peerClients {
					t.Run(fmt.Sprintf("%s/%d:%d", protocol, c.uid, c.gid), func(t *testing.T) {
						t.Parallel()
						peerRequests(t, peerTransport(t, protocol, socket, c.uid, c.gid), protocol, url, c)
					})
				}
			}
			tcp := peerGet(t, testcaddy.Client(t, "http"), s.HTTP("/whoami"))
			if tcp.matches != "stranger" || tcp.peer != "//" || tcp.app != nil {
				t.Errorf("over TCP: got %+v", tcp)
			}
		})
	}
}

// peerRequests makes two requests over one connection.
func peerRequests(t *testing.T, client *http.Client, protocol, url string, c peerClient) {
	t.Helper()
	uid, gid, pid := strconv.Itoa(c.uid), strconv.Itoa(c.gid), strconv.Itoa(os.Getpid())
	wantProto := "HTTP/1.1"
	if protocol == "h2" || protocol == "h2c" {
		wantProto = "HTTP/2.0"
	}
	for i := range 2 {
		got := peerGet(t, client, url)
		if got.matches != c.matches || got.peer != uid+"/"+gid+"/"+pid || got.proto != wantProto || got.reused != (i > 0) {
			t.Errorf("request %d: got %+v, want the matches %q", i, got, c.matches)
		}
		if got.app["uid"] != uid || got.app["gid"] != gid || got.app["pid"] != pid {
			t.Errorf("request %d: the app knows %v", i, got.app)
		}
	}
}

func peerAwaitCertificate(t *testing.T, socket string) {
	t.Helper()
	testcaddy.Eventually(t, "a certificate", func() bool {
		conn, err := tls.Dial("unix", socket, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}) //nolint:gosec // as above
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
