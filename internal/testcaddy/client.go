package testcaddy

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// Protocols are the ways to reach a site that Client knows.
var Protocols = []string{"http", "https", "h2", "h3"}

// Client returns an HTTP client of its own that speaks one protocol only:
// "http" and "https" are HTTP/1.1 without and with TLS. It trusts any
// certificate, follows no redirect and adds no Accept-Encoding.
func Client(t testing.TB, protocol string) *http.Client {
	t.Helper()
	insecure := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the CA is made by the server under test
	client := &http.Client{
		Timeout:       5 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if protocol == "h3" {
		transport := &http3.Transport{TLSClientConfig: insecure, DisableCompression: true}
		t.Cleanup(func() { _ = transport.Close() })
		client.Transport = transport
		return client
	}
	transport := &http.Transport{TLSClientConfig: insecure, DisableCompression: true, Protocols: new(http.Protocols)}
	switch protocol {
	case "http", "https":
		transport.Protocols.SetHTTP1(true)
	case "h2":
		transport.Protocols.SetHTTP2(true)
	default:
		t.Fatalf("unknown protocol %q", protocol)
	}
	t.Cleanup(transport.CloseIdleConnections)
	client.Transport = transport
	return client
}

// URL returns the URL of a path for a protocol of Protocols.
func (s *Server) URL(protocol, path string) string {
	if protocol == "http" {
		return s.HTTP(path)
	}
	return s.HTTPS(path)
}
