package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// protocolSockets are the routes of WebSockets, and the status with which the
// libraries behind them refuse a request that is none.
var protocolSockets = map[string]int{"/ws": 426, "/ws/gorilla": 400, "/ws/detached": 400}

// protocolWebSockets has clients of two libraries talk to servers of both.
// HTTP/2 and 3 have another handshake, which Go's servers do not know: there
// the answer is the refusal.
func protocolWebSockets(t *testing.T, p protocolSite) {
	for path, refusal := range protocolSockets {
		if got := p.get(t, path); got.StatusCode != refusal {
			t.Errorf("%s: got %d %q, want %d", path, got.StatusCode, got.text, refusal)
		}
		if p.protocol == "http" || p.protocol == "https" {
			t.Run(path+" coder", func(t *testing.T) { protocolWebSocketCoder(t, p, path) })
			t.Run(path+" gorilla", func(t *testing.T) { protocolWebSocketGorilla(t, p, path) })
		}
	}
}

// protocolMessages are a text and a message that takes more than one buffer.
var protocolMessages = [][]byte{[]byte("hello"), bytes.Repeat([]byte("long "), 50_000), {}}

func (p protocolSite) socketURL(path string) string {
	return "ws" + strings.TrimPrefix(p.URL(p.protocol, path), "http")
}

func (p protocolSite) socketHeader() http.Header {
	header := make(http.Header)
	if p.gzip {
		header.Set("Accept-Encoding", "gzip")
	}
	return header
}

func protocolWebSocketCoder(t *testing.T, p protocolSite, path string) {
	ctx, cancel := context.WithTimeout(t.Context(), protocolPatience)
	defer cancel()
	conn, _, err := coder.Dial(ctx, p.socketURL(path), &coder.DialOptions{HTTPClient: p.client, HTTPHeader: p.socketHeader()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 20)
	for _, want := range protocolMessages {
		if err := conn.Write(ctx, coder.MessageBinary, want); err != nil {
			t.Fatal(err)
		}
		if kind, got, err := conn.Read(ctx); err != nil || kind != coder.MessageBinary || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes as %v, %v; want %d", len(got), kind, err, len(want))
		}
	}
	if err := conn.Close(coder.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func protocolWebSocketGorilla(t *testing.T, p protocolSite, path string) {
	dialer := gorilla.Dialer{
		TLSClientConfig:  &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the CA is made by the server under test
		HandshakeTimeout: protocolPatience,
	}
	conn, resp, err := dialer.DialContext(t.Context(), p.socketURL(path), p.socketHeader())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	defer func() { _ = resp.Body.Close() }()
	if err := conn.SetReadDeadline(time.Now().Add(protocolPatience)); err != nil {
		t.Fatal(err)
	}
	for _, want := range protocolMessages {
		if err := conn.WriteMessage(gorilla.TextMessage, want); err != nil {
			t.Fatal(err)
		}
		if kind, got, err := conn.ReadMessage(); err != nil || kind != gorilla.TextMessage || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes as %v, %v; want %d", len(got), kind, err, len(want))
		}
	}
	goodbye := gorilla.FormatCloseMessage(gorilla.CloseNormalClosure, "")
	if err := conn.WriteControl(gorilla.CloseMessage, goodbye, time.Now().Add(protocolPatience)); err != nil {
		t.Error(err)
	}
	if _, _, err := conn.ReadMessage(); !gorilla.IsCloseError(err, gorilla.CloseNormalClosure) {
		t.Errorf("the server ended with %v", err)
	}
}

func protocolHijack(t *testing.T, p protocolSite) {
	got := p.get(t, "/hijack")
	switch p.protocol {
	case "http", "https":
		if got.StatusCode != http.StatusOK || got.text != "hijacked\n" || !got.Close || got.Header.Get("Server") != "" {
			t.Errorf("got %d %q %v", got.StatusCode, got.text, got.Header)
		}
	default: // a stream is no connection that one could take
		if got.StatusCode != http.StatusInternalServerError || !strings.Contains(got.text, "not supported") {
			t.Errorf("got %d %q", got.StatusCode, got.text)
		}
	}
}

// protocolHints wants 103 before 200, and neither lost.
func protocolHints(t *testing.T, p protocolSite) {
	const link = "</static/style.css>; rel=preload; as=style"
	var mu sync.Mutex
	var hints []string
	ctx, cancel := context.WithTimeout(t.Context(), protocolPatience)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			mu.Lock()
			defer mu.Unlock()
			hints = append(hints, http.StatusText(code)+" "+strings.Join(header["Link"], "|"))
			return nil
		},
	})
	resp, body := p.open(t, p.request(ctx, t, http.MethodGet, "/hints", nil))
	var text bytes.Buffer
	if _, err := text.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(hints) != 1 || hints[0] != "Early Hints "+link {
		t.Errorf("got hints %q", hints)
	}
	if resp.StatusCode != http.StatusOK || text.String() != "early hints came first\n" ||
		strings.Join(resp.Header["Link"], "|") != link {
		t.Errorf("got %d %q %v", resp.StatusCode, text.String(), resp.Header)
	}
}

// TestDetachedWebSocketsUnderAccessLog has handlers return while goroutines of
// theirs use the connections, and the server log the requests at that moment.
// Caddy's recorder of answers counts the bytes of a connection as if only the
// handler could use it; the race detector in the server sees whether anybody
// still goes through that.
func TestDetachedWebSocketsUnderAccessLog(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, protocolSetup{log: true, encode: true, writeIdle: true}.config())
	const clients = 50
	for _, protocol := range []string{"http", "https"} {
		p := protocolSite{s, protocol, protocolClient(t, protocol), false}
		t.Run(protocol, func(t *testing.T) {
			for range clients {
				protocolWebSocketGorilla(t, p, "/ws/detached")
			}
		})
	}
	s.Stop()
	logged := 0
	for _, e := range s.Log() {
		if field, ok := e.Fields["gin"].(map[string]any); ok && field["route"] == "/ws/detached" {
			logged++
		}
	}
	if logged != 2*clients {
		t.Errorf("%d of %d WebSockets are in the access log", logged, 2*clients)
	}
}
