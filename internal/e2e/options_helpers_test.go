package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// optAnswer is a response, read to its end.
type optAnswer struct {
	status int
	header http.Header
	body   string
}

// optDo makes a request without a body over a connection of its own. The
// target is sent as it is, where net/http would not let every path through.
func optDo(t testing.TB, s *testcaddy.Server, method, target string, header ...string) optAnswer {
	t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("localhost", strconv.Itoa(s.HTTPPort)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Minute))
	_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost:%d\r\nContent-Length: 0\r\nConnection: close\r\n", method, target, s.HTTPPort)
	for _, line := range header {
		_, _ = fmt.Fprintf(conn, "%s\r\n", line)
	}
	_, _ = io.WriteString(conn, "\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return optRead(t, resp)
}

// optGet is optDo for GET.
func optGet(t testing.TB, s *testcaddy.Server, target string, header ...string) optAnswer {
	t.Helper()
	return optDo(t, s, http.MethodGet, target, header...)
}

func optRead(t testing.TB, resp *http.Response) optAnswer {
	t.Helper()
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	return optAnswer{resp.StatusCode, resp.Header, string(body)}
}

// optEcho is what the routes of opt-routes and opt-hosts answer.
type optEcho struct {
	Route  string            `json:"route"`
	Params map[string]string `json:"params"`
	Path   string            `json:"path"`
	Mode   string            `json:"mode"`
}

func (a optAnswer) echo(t testing.TB) optEcho {
	t.Helper()
	var e optEcho
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != http.StatusOK {
		t.Fatalf("not an echo: %d %q", a.status, a.body)
	}
	return e
}

// optSite is a site on the plain port.
func optSite(directives string) testcaddy.Config {
	return testcaddy.Config{Sites: "http://localhost:$HTTP {\n" + directives + "\n}\n"}.Strict()
}

// optParallel runs f for each of 0 to n-1 in goroutines of their own, at most
// 16 at a time.
func optParallel(n int, f func(i int)) {
	slots := make(chan struct{}, 16)
	for i := range n {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			f(i)
		}()
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
}
