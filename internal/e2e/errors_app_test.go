package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// A Gin app may answer the errors of another one. The helpers that its
// handlers call must find its own request, not that of the app which failed.
func TestHelpersOfAnAppInAnErrorRouteFindItsOwnRequest(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: `
http://localhost:$HTTP {
	gin hello {
		timeout 1m
	}
	handle_errors 503 {
		rewrite * /demo/whoami
		gin hello {
			base_path /demo
		}
	}
	handle_errors 418 {
		rewrite * /demo/hints
		gin hello {
			base_path /demo
		}
	}
	handle_errors {
		rewrite * /demo/fail?status=410
		gin hello {
			base_path /demo
		}
	}
}`})
	client := testcaddy.Client(t, "http")
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := client.Get(s.HTTP(path))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}

	var who struct{ Prefix, Route string }
	if status, body := get("/fail?status=503"); json.Unmarshal([]byte(body), &who) != nil || who.Prefix != "/demo" || who.Route != "/whoami" {
		t.Errorf("Prefix and Placeholder: got %d %q, want the prefix /demo and the route /whoami", status, body)
	}
	hinted := false
	trace := &httptrace.ClientTrace{Got1xxResponse: func(status int, _ textproto.MIMEHeader) error {
		hinted = hinted || status == http.StatusEarlyHints
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, s.HTTP("/fail?status=418"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if !hinted {
		t.Errorf("EarlyHints: got %s and no hints", resp.Status)
	}
	// Caddy's answer to an error in an error route has the first one's status
	// and no body; without Fail's own request, Gin would answer 410 itself
	if status, body := get("/fail?status=500"); status != http.StatusGone && status != http.StatusInternalServerError || body != "" {
		t.Errorf("Fail: got %d %q", status, body)
	}
	if !s.WaitLog(func(e testcaddy.Entry) bool { return e.Msg == "error handling handler error" }) {
		t.Error("Fail in the error route did not reach Caddy")
	}
}
