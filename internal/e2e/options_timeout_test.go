package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// timeoutSite has an access log and error routes, which look at the request
// while its handler may still run.
func timeoutSite(timeout string) testcaddy.Config {
	return testcaddy.Config{Sites: `
http://localhost:$HTTP, https://localhost:$HTTPS {
	tls internal
	log
	gin opt-timeout {
		timeout ` + timeout + `
	}
	handle_errors {
		vars answered late
		root * /nowhere
		header X-Route {http.gin.route}
		respond "{err.status_code} {err.message}"
	}
}`}
}

const timedOut = "503 the Gin app did not answer in time"

// timeoutResult returns what a handler of opt-timeout has to tell.
func timeoutResult(t *testing.T, s *testcaddy.Server, protocol, id string) string {
	t.Helper()
	resp, err := testcaddy.Client(t, protocol).Get(s.URL(protocol, "/results"))
	if err != nil {
		t.Fatal(err)
	}
	var results map[string]string
	if err := json.Unmarshal([]byte(optRead(t, resp).body), &results); err != nil {
		t.Fatal(err)
	}
	return results[id]
}

func timeoutGet(t *testing.T, s *testcaddy.Server, client *http.Client, protocol, path string) optAnswer {
	t.Helper()
	resp, err := client.Get(s.URL(protocol, path))
	if err != nil {
		t.Fatalf("%s %s: %v", protocol, path, err)
	}
	return optRead(t, resp)
}

// The handlers wait for a request that is made after the answer has come, so
// that the answer can only be the timeout's.
func TestTimeoutAnswersThoughTheHandlerIgnoresIt(t *testing.T) {
	t.Parallel()
	ends := map[string]string{"late-write": "released, context: context deadline exceeded", "late-panic": "panicking"}
	s := testcaddy.Start(t, timeoutSite("300ms"))
	for _, protocol := range testcaddy.Protocols {
		client := testcaddy.Client(t, protocol)
		if protocol != "http" { // /release has released the app's handlers of the TLS port
			if err := s.Reload(timeoutSite("300ms")); err != nil {
				t.Fatal(err)
			}
		}
		for id := range ends {
			begin := time.Now()
			got := timeoutGet(t, s, client, protocol, "/"+id+"?id="+id)
			if got.status != http.StatusServiceUnavailable || got.body != timedOut ||
				got.header.Get("X-Route") != "/"+id || got.header.Get("X-Late") != "" {
				t.Errorf("%s /%s: got %d %q, %v", protocol, id, got.status, got.body, got.header)
			}
			if took := time.Since(begin); took < 300*time.Millisecond {
				t.Errorf("%s /%s: answered after %s, before the deadline", protocol, id, took)
			}
			if text := timeoutResult(t, s, protocol, id); text != "waiting" {
				t.Errorf("%s /%s: the handler is %q when the client is answered", protocol, id, text)
			}
			// the connection serves on while the handler is running
			if got := timeoutGet(t, s, client, protocol, "/sleep?d=0"); got.body != "slept" {
				t.Errorf("%s: afterwards: got %q", protocol, got.body)
			}
		}
		resp, err := client.Post(s.URL(protocol, "/release"), "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		optRead(t, resp)
		for id, end := range ends {
			testcaddy.Eventually(t, "the handler returns: "+end, func() bool { return timeoutResult(t, s, protocol, id) == end })
		}
	}
	panics := func() (n int) {
		for _, e := range s.Log() {
			if e.Msg == "handler panicked" && e.Fields["route"] == "/late-panic" {
				n++
			}
		}
		return n
	}
	testcaddy.Eventually(t, "each late panic is logged", func() bool { return panics() == len(testcaddy.Protocols) })
}

func TestTimeoutEndsDerivedContextsWithDeadlineExceeded(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, timeoutSite("200ms"))
	for _, protocol := range testcaddy.Protocols {
		client := testcaddy.Client(t, protocol)
		if got := timeoutGet(t, s, client, protocol, "/derived?id="+protocol); got.body != timedOut {
			t.Errorf("%s: got %d %q", protocol, got.status, got.body)
		}
		const want = "context deadline exceeded, cause context deadline exceeded, gin.Context context deadline exceeded"
		testcaddy.Eventually(t, "the handler sees the deadline", func() bool { return timeoutResult(t, s, protocol, protocol) != "" })
		if text := timeoutResult(t, s, protocol, protocol); text != want {
			t.Errorf("%s: the handler saw %q", protocol, text)
		}
	}
}

// A handler that returns without a word when its context ends has not
// answered, though it returns at the very moment of the deadline.
func TestHandlersThatGiveUpAtTheDeadlineAreTimeouts(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, timeoutSite("20ms"))
	client := testcaddy.Client(t, "http")
	wrong := make(chan string, 400)
	optParallel(400, func(int) {
		resp, err := client.Get(s.HTTP("/derived"))
		if err != nil {
			wrong <- err.Error()
			return
		}
		if got := optRead(t, resp); got.status != http.StatusServiceUnavailable || got.body != timedOut {
			wrong <- fmt.Sprint(got.status, " ", got.body)
		}
	})
	close(wrong)
	if n := len(wrong); n > 0 {
		t.Errorf("%d of 400 requests got another answer, such as: %s", n, <-wrong)
	}
}

func TestStreamsAreExemptFromTheTimeout(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, timeoutSite("300ms"))
	for _, protocol := range testcaddy.Protocols {
		client := testcaddy.Client(t, protocol)
		for path, want := range map[string]string{
			"/stream": "begin, context: <nil>",
			"/exempt": "context: <nil>, deadline false",
			"/hijack": "context: <nil>",
		} {
			if path == "/hijack" && (protocol == "h2" || protocol == "h3") {
				continue // there is no connection to take
			}
			if got := timeoutGet(t, s, client, protocol, path); got.status != http.StatusOK || got.body != want {
				t.Errorf("%s %s: got %d %q, want %q", protocol, path, got.status, got.body, want)
			}
		}
	}
}

// slowBody sends some bytes, and then none until it is closed.
type slowBody struct {
	sent   bool
	closed chan struct{}
}

func (b *slowBody) Read(p []byte) (int, error) {
	if !b.sent {
		b.sent = true
		return copy(p, "some of it"), nil
	}
	<-b.closed
	return 0, io.EOF
}

func (b *slowBody) Close() error {
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
	return nil
}

func TestTimeoutWhileTheBodyIsBeingRead(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, timeoutSite("300ms"))
	for _, protocol := range testcaddy.Protocols {
		t.Run(protocol, func(t *testing.T) {
			body := &slowBody{closed: make(chan struct{})}
			defer func() { _ = body.Close() }()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL(protocol, "/read?id="+protocol), body)
			if err != nil {
				t.Fatal(err)
			}
			client := testcaddy.Client(t, protocol)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if got := optRead(t, resp); got.status != http.StatusServiceUnavailable || got.body != timedOut {
				t.Errorf("got %d %q", got.status, got.body)
			}
			testcaddy.Eventually(t, "the handler's read ends", func() bool { return timeoutResult(t, s, protocol, protocol) != "" })
			if text := timeoutResult(t, s, protocol, protocol); !strings.HasPrefix(text, "true ") || strings.HasSuffix(text, "<nil>") {
				t.Errorf("the handler's read: %q", text)
			}
			if got := timeoutGet(t, s, client, protocol, "/sleep?d=0"); got.body != "slept" {
				t.Errorf("afterwards: got %q", got.body)
			}
		})
	}
}

// What a handler does to its request after the deadline must not meet what
// Caddy does with it then: an unlucky moment would end the process.
func TestHandlersThatGoOnAfterTheDeadlineDisturbNothing(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, timeoutSite("100ms"))
	client := testcaddy.Client(t, "http")
	wrong := make(chan string, 64)
	optParallel(64, func(i int) {
		req, err := http.NewRequest(http.MethodGet, s.HTTP("/busy?i="+fmt.Sprint(i)), nil)
		if err != nil {
			wrong <- err.Error()
			return
		}
		req.Header.Set("X-Unwanted", "yes")
		resp, err := client.Do(req)
		if err != nil {
			wrong <- err.Error()
			return
		}
		if got := optRead(t, resp); got.body != timedOut {
			wrong <- fmt.Sprint(got)
		}
	})
	close(wrong)
	for text := range wrong {
		t.Error(text)
	}
}

// Handlers that answer at about the deadline: each request gets the answer or
// the timeout, whole, and the pooled contexts stay apart.
func TestTimeoutsUnderLoad(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, timeoutSite("20ms"))
	base := 0
	for _, protocol := range testcaddy.Protocols {
		client := testcaddy.Client(t, protocol)
		wrong := make(chan string, 400)
		optParallel(400, func(i int) {
			resp, err := client.Get(s.URL(protocol, fmt.Sprintf("/sleep?d=%dms", 10+i%20)))
			if err != nil {
				wrong <- err.Error()
				return
			}
			got := optRead(t, resp)
			slept := got.status == http.StatusOK && got.body == "slept"
			timeout := got.status == http.StatusServiceUnavailable && got.body == timedOut
			if !slept && !timeout {
				wrong <- fmt.Sprint(got)
			}
		})
		close(wrong)
		for text := range wrong {
			t.Errorf("%s: %s", protocol, text)
		}
		client.CloseIdleConnections()
		if n := s.Goroutines(); base == 0 {
			base = n
		}
	}
	testcaddy.Eventually(t, "no goroutine is left", func() bool { return s.Goroutines() <= base })
}
