package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// protocolPatience bounds a request that should take no time.
const protocolPatience = time.Minute

// protocolClient returns a client for one protocol. After an error of a
// request, that of HTTP/3 makes a new connection and forgets the old one,
// which would keep the server from stopping for half a minute; here it is
// closed.
func protocolClient(t *testing.T, protocol string) *http.Client {
	t.Helper()
	client := testcaddy.Client(t, protocol)
	if transport, ok := client.Transport.(*http3.Transport); ok {
		transport.Dial = func(ctx context.Context, addr string, tlsConf *tls.Config, conf *quic.Config) (*quic.Conn, error) {
			conn, err := quic.DialAddrEarly(ctx, addr, tlsConf, conf)
			if err == nil {
				t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
			}
			return conn, err
		}
	}
	return client
}

// protocolAnswer is an answer that has been read to its end.
type protocolAnswer struct {
	*http.Response
	text string // decompressed
}

// request makes a request whose headers are given as pairs.
func (p protocolSite) request(ctx context.Context, t *testing.T, method, path string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, p.URL(p.protocol, path), body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if p.gzip {
		req.Header.Set("Accept-Encoding", "gzip")
	}
	return req
}

// open sends a request and returns the body as the app wrote it. It sees to it
// that the right protocol answers, and closes the body at the end of the test.
func (p protocolSite) open(t *testing.T, req *http.Request) (*http.Response, io.Reader) {
	t.Helper()
	resp, err := p.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if want := map[string]int{"http": 1, "https": 1, "h2": 2, "h3": 3}[p.protocol]; resp.ProtoMajor != want {
		t.Fatalf("answered by %s", resp.Proto)
	}
	if resp.ProtoMajor > 1 {
		// Such an answer is malformed; curl and browsers reject it as a whole.
		for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"} {
			if value, ok := resp.Header[name]; ok {
				t.Errorf("%s: HTTP/%d has no header %s: %q", req.URL.Path, resp.ProtoMajor, name, value)
			}
		}
	}
	switch encoding := resp.Header.Get("Content-Encoding"); {
	case encoding == "":
		return resp, resp.Body
	case encoding == "gzip" && p.gzip:
		return resp, &protocolGunzip{body: resp.Body}
	default:
		t.Fatalf("content encoding is %q", encoding)
		return nil, nil
	}
}

// get fetches a path, and fails the test if it cannot.
func (p protocolSite) get(t *testing.T, path string, header ...string) protocolAnswer {
	t.Helper()
	return p.ask(t, http.MethodGet, path, header...)
}

func (p protocolSite) ask(t *testing.T, method, path string, header ...string) protocolAnswer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), protocolPatience)
	defer cancel()
	resp, body := p.open(t, p.request(ctx, t, method, path, nil, header...))
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatalf("%s: %v after %d bytes", path, err, len(text))
	}
	return protocolAnswer{resp, string(text)}
}

// wantGzip is for answers of types that Caddy compresses.
func (p protocolSite) wantGzip(t *testing.T, resp *http.Response) {
	t.Helper()
	if got := resp.Header.Get("Content-Encoding") == "gzip"; got != p.gzip {
		t.Errorf("compressed: %v, want %v", got, p.gzip)
	}
}

// protocolGunzip decompresses without reading ahead: the header of the format
// is read when the data is, which may be long after the answer began.
type protocolGunzip struct {
	body io.Reader
	r    *gzip.Reader
}

// Read implements [io.Reader].
func (g *protocolGunzip) Read(p []byte) (int, error) {
	if g.r == nil {
		r, err := gzip.NewReader(bufio.NewReader(g.body))
		if err != nil {
			return 0, err // also io.EOF, for an empty body
		}
		g.r = r
	}
	return g.r.Read(p)
}
