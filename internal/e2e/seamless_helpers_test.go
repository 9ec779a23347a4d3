package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// seamPatience is how long something may take that must happen.
const seamPatience = time.Minute

// seamConfig is a configuration whose servers all have the wrapper, with
// further options of servers.
func seamConfig(options string, sites ...string) testcaddy.Config {
	if !strings.Contains(options, "protocols ") {
		options += "\nprotocols h1 h2 h2c"
	}
	return seamServers("listener_wrappers {\nseamless\n}\n"+options, sites...)
}

// seamServers is a configuration with options of servers, on ports that
// nobody else has.
func seamServers(options string, sites ...string) testcaddy.Config {
	return testcaddy.Config{
		Global:    "auto_https disable_redirects\nservers {\n" + options + "\n}\n",
		Sites:     strings.Join(sites, ""),
		Exclusive: true,
	}
}

// seamSite is a site that answers with a value: /plain by Caddy alone, /value
// and the rest by life-main.
func seamSite(site, binds, value string, directives ...string) string {
	return site + " {\nbind " + binds + "\n" + strings.Join(directives, "\n") +
		"\nrespond /plain " + value + "\n" + lifeDirective(value) + "}\n"
}

const (
	seamHTTP  = "http://localhost:$HTTP"
	seamHTTPS = "https://localhost:$HTTPS"
)

// seamReload loads a configuration that must load.
func seamReload(t testing.TB, s *testcaddy.Server, config testcaddy.Config) {
	t.Helper()
	if err := s.Reload(config); err != nil {
		t.Fatalf("reload: %v", err)
	}
}

// seamPost posts nothing to the admin API. It may end without an answer.
func seamPost(t testing.TB, s *testcaddy.Server, path string) {
	if resp, err := unixClient(t, filepath.Join(s.Dir, "admin.sock")).Post("http://caddy"+path, "", nil); err == nil {
		_ = resp.Body.Close()
	}
}

// seamAdmin makes a request to the admin API.
func seamAdmin(t testing.TB, s *testcaddy.Server, method, path string) {
	t.Helper()
	client := unixClient(t, filepath.Join(s.Dir, "admin.sock"))
	req, err := http.NewRequest(method, "http://caddy"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
}

// seamAt is a way to reach a server.
type seamAt struct {
	protocol         string // "http", "https", "h2" or "h2c"
	network, address string
	cert             *tls.Certificate // of the client
	session          tls.ClientSessionCache
}

// seamTCP is the way to a server's port at 127.0.0.1.
func seamTCP(s *testcaddy.Server, protocol string) seamAt {
	port := s.HTTPPort
	if protocol == "https" || protocol == "h2" {
		port = s.HTTPSPort
	}
	return seamAt{protocol: protocol, network: "tcp", address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
}

func seamUnix(path, protocol string) seamAt {
	return seamAt{protocol: protocol, network: "unix", address: path}
}

// url returns the URL of a path.
func (at seamAt) url(path string) string {
	if at.protocol == "https" || at.protocol == "h2" {
		return "https://localhost" + path
	}
	return "http://localhost" + path
}

// connect opens a connection, with TLS if the protocol has it.
func (at seamAt) connect() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), seamPatience)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(ctx, at.network, at.address)
	if err != nil || at.protocol == "http" || at.protocol == "h2c" {
		return raw, err
	}
	config := &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // a certificate of the test
		ServerName:         "localhost",
		NextProtos:         []string{map[string]string{"https": "http/1.1", "h2": "h2"}[at.protocol]},
		ClientSessionCache: at.session,
	}
	if at.cert != nil {
		config.Certificates = []tls.Certificate{*at.cert}
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// seamConn is a client with one connection, which it never replaces: it sees
// every close.
type seamConn struct {
	net.Conn
	at   seamAt
	host string            // for the header; localhost if it is empty
	r    *bufio.Reader     // of HTTP/1.1
	h2   *http2.ClientConn //nolint:staticcheck // of HTTP/2; it tells whether it was sent GOAWAY
}

// seamOver returns a client of HTTP/1.1 for a connection.
func seamOver(conn net.Conn, protocol string) *seamConn {
	return &seamConn{Conn: conn, at: seamAt{protocol: protocol}, r: bufio.NewReader(conn)}
}

// seamAnswer is an answer that has been read.
type seamAnswer struct {
	status int
	body   string
	last   bool // HTTP/1.1: the server says that it closes the connection
	header http.Header
}

// seamHTTP2 returns a client of HTTP/2 for a connection.
//
//nolint:staticcheck // net/http has one for an address only
func seamHTTP2(conn net.Conn) (*http2.ClientConn, error) {
	transport := &http2.Transport{AllowHTTP: true, ReadIdleTimeout: seamPatience, PingTimeout: seamPatience}
	return transport.NewClientConn(conn)
}

func (at seamAt) dial() (*seamConn, error) {
	conn, err := at.connect()
	if err != nil {
		return nil, err
	}
	c := &seamConn{Conn: conn, at: at}
	if strings.HasPrefix(at.protocol, "h2") {
		c.h2, err = seamHTTP2(conn)
		if err != nil {
			_ = conn.Close()
		}
		return c, err
	}
	c.r = bufio.NewReader(conn)
	return c, nil
}

// mustDial opens a connection that is closed at the end of the test.
func (at seamAt) mustDial(t testing.TB) *seamConn {
	t.Helper()
	c, err := at.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// send makes a request and returns the answer as it begins. The body, if there
// is one, cannot be sent twice.
func (c *seamConn) send(method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequest(method, c.at.url(path), body)
	if err != nil {
		return nil, err
	}
	req.GetBody = nil
	req.Host = c.host
	if c.h2 != nil {
		return c.h2.RoundTrip(req)
	}
	_ = c.SetDeadline(time.Now().Add(seamPatience))
	if err := req.Write(c); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.r, req)
}

func (c *seamConn) do(method, path string, body io.Reader) (seamAnswer, error) {
	resp, err := c.send(method, path, body)
	if err != nil {
		return seamAnswer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return seamAnswer{resp.StatusCode, string(text), resp.Close, resp.Header}, err
}

func (c *seamConn) get(path string) (seamAnswer, error) { return c.do(http.MethodGet, path, nil) }

// want makes a request that must get a value.
func (c *seamConn) want(t testing.TB, path, value string) seamAnswer {
	t.Helper()
	answer, err := c.get(path)
	if err != nil || answer.status != http.StatusOK || answer.body != value {
		t.Fatalf("%s %s: got %d %q, %v; want %q", c.at.protocol, path, answer.status, answer.body, err, value)
	}
	return answer
}

// wantKept is want, and the connection must go on.
func (c *seamConn) wantKept(t testing.TB, path, value string) {
	t.Helper()
	if answer := c.want(t, path, value); answer.last {
		t.Fatalf("%s: the server ends the connection", c.at.protocol)
	}
	if c.h2 != nil && !c.h2.CanTakeNewRequest() {
		t.Fatalf("%s: the connection takes no further requests: %+v", c.at.protocol, c.h2.State())
	}
}

// wantLast is want, and the server must end the connection with the answer,
// but for HTTP/2: Go's GOAWAY would lose requests that are on their way.
func (c *seamConn) wantLast(t testing.TB, path, value string) {
	t.Helper()
	if c.h2 != nil {
		c.wantKept(t, path, value)
		return
	}
	if answer := c.want(t, path, value); !answer.last {
		t.Errorf("%s: the server does not end the connection", c.at.protocol)
	}
	c.wantEnd(t)
}

// wantEnd waits until the server has closed the connection, or said by GOAWAY
// that it takes no further request.
func (c *seamConn) wantEnd(t testing.TB) {
	t.Helper()
	if c.h2 != nil {
		testcaddy.Eventually(t, "GOAWAY", func() bool { return !c.h2.CanTakeNewRequest() })
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(seamPatience))
	if _, err := c.r.ReadByte(); err == nil || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Fatalf("%s: the connection goes on: %v", c.at.protocol, err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// seamServes makes a request over a connection of its own.
func seamServes(t testing.TB, at seamAt, path, value string) {
	t.Helper()
	c, err := at.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.want(t, path, value)
}

// seamLine reads a line of a stream byte by byte.
func seamLine(t testing.TB, r io.Reader, want string) {
	t.Helper()
	var line []byte
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatalf("reading a line after %q: %v", line, err)
		}
		if b[0] == '\n' {
			break
		}
		line = append(line, b[0])
	}
	if string(line) != want {
		t.Fatalf("got the line %q, want %q", line, want)
	}
}
