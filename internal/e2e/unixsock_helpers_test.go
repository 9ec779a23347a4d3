package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// unixClient is an HTTP client that opens a connection to a Unix socket for
// each request.
func unixClient(t testing.TB, path string) *http.Client {
	t.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// unixSite is a site that answers with a text on an address.
func unixSite(bind, answer string) testcaddy.Config {
	return testcaddy.Config{Sites: "http:// {\nbind " + bind + "\nrespond " + answer + "\n}\n"}
}

func wantAnswer(t testing.TB, path, want string) {
	t.Helper()
	if got := lifeGet(t, unixClient(t, path), "http://localhost/"); got != want {
		t.Errorf("%s answers %q, want %q", path, got, want)
	}
}

func wantNoFile(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
}
