package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// protocolEchoInLockstep sends each line after the one before has come back.
func protocolEchoInLockstep(t *testing.T, p protocolSite) {
	ctx, cancel := context.WithTimeout(t.Context(), protocolPatience)
	defer cancel()
	rest, in := io.Pipe()
	defer func() { _ = in.Close() }()
	const first = "line 0\n"
	// Caddy's encode holds the header back until there is a body.
	req := p.request(ctx, t, http.MethodPost, "/echo", io.MultiReader(strings.NewReader(first), rest),
		"Content-Type", "text/plain")
	resp, body := p.open(t, req)
	p.wantGzip(t, resp)
	out := bufio.NewReader(body)
	line := first
	for i := 1; ; i++ {
		if got, err := out.ReadString('\n'); err != nil || got != line {
			t.Fatalf("got %q, %v; want %q", got, err, line)
		}
		if i == 5 {
			break
		}
		line = fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(in, line); err != nil {
			t.Fatal(err)
		}
	}
	_ = in.Close()
	if got, err := io.ReadAll(out); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v at the end", got, err)
	}
}

func protocolEvents(t *testing.T, p protocolSite) {
	got := p.get(t, "/events?n=3&interval=5ms")
	if n := strings.Count(got.text, "event:tick\n"); n != 3 {
		t.Errorf("got %d events: %q", n, got.text)
	}
	if kind := got.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		t.Errorf("content type is %q", kind)
	}
	p.wantGzip(t, got.Response)
}

// protocolFirstEventThenLeaving gets the first event while the second is an
// hour away, and sees the handler end when the client leaves. A stream that
// is waiting learns of it from the request's context, one that is busy from
// CloseNotify, too.
func protocolFirstEventThenLeaving(t *testing.T, p protocolSite) {
	for _, interval := range []string{"1h", "1ms"} {
		ctx, leave := context.WithTimeout(t.Context(), protocolPatience)
		defer leave()
		_, body := p.open(t, p.request(ctx, t, http.MethodGet, "/events?n=0&interval="+interval, nil))
		event, err := protocolEvent(bufio.NewReader(body))
		if err != nil || !strings.HasPrefix(event, "event:tick\ndata:{\"n\":1,") {
			t.Fatalf("the first event is %q, %v", event, err)
		}
		if !protocolServing(t, p.Server, "events") {
			t.Fatal("the stream ended though its client is there")
		}
		leave()
		left := time.Now()
		testcaddy.Eventually(t, "the stream ends", func() bool { return !protocolServing(t, p.Server, "events") })
		// A second is what a user may expect; the rest is for slow machines.
		took := time.Since(left)
		t.Logf("the stream ended %v after its client had left", took)
		if took > 5*time.Second {
			t.Error("that is too long")
		}
	}
}

// protocolEvent reads a server-sent event.
func protocolEvent(r *bufio.Reader) (event string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == "\n" {
			return event, err
		}
		event += line
	}
}

// protocolServing tells whether some goroutine of the server is in a handler
// of the app.
func protocolServing(t *testing.T, s *testcaddy.Server, handler string) bool {
	t.Helper()
	stacks, err := s.Admin("/debug/pprof/goroutine?debug=2")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(stacks), "/hello.(*server)."+handler+"(")
}

// protocolAbort wants the error that tells the client that there is more than
// it got.
func protocolAbort(t *testing.T, p protocolSite) {
	ctx, cancel := context.WithTimeout(t.Context(), protocolPatience)
	defer cancel()
	req := p.request(ctx, t, http.MethodGet, "/abort", nil)
	if p.protocol == "h3" {
		// The reset of a QUIC stream overtakes what was flushed before it, so
		// that the error may come with the body or in place of the answer.
		if resp, err := p.client.Do(req); err == nil {
			defer func() { _ = resp.Body.Close() }()
			if got, err := io.ReadAll(resp.Body); err == nil || ctx.Err() != nil {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
		protocolPing(t, p)
		return
	}
	resp, body := p.open(t, req)
	got, err := io.ReadAll(body)
	switch {
	case err == nil:
		t.Fatalf("%d bytes pass for the whole answer", len(got))
	case ctx.Err() != nil:
		t.Fatalf("the answer never ended: %v", err)
	case p.protocol != "h2" && !errors.Is(err, io.ErrUnexpectedEOF):
		t.Errorf("got the error %v", err)
	}
	if half := strings.Repeat("half ", 100); resp.StatusCode != http.StatusOK || string(got) != half {
		t.Errorf("got %d %q, want what was flushed", resp.StatusCode, got)
	}
	protocolPing(t, p)
}
