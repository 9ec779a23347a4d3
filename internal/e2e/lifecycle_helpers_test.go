package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// lifeApp is a configuration with the app life-main and further lines of its
// config block.
func lifeApp(value string, config ...string) testcaddy.Config {
	return testcaddy.Config{Sites: "http://localhost:$HTTP {\n" + lifeDirective(value, config...) + "}\n"}.Strict()
}

func lifeDirective(value string, config ...string) string {
	return "\tgin life-main {\n\t\tconfig {\n\t\t\tdir $DIR\n\t\t\tvalue " + value + "\n\t\t\t" +
		strings.Join(config, "\n\t\t\t") + "\n\t\t}\n\t}\n"
}

// lifeGet returns the body of an answer, which must have the status 200.
func lifeGet(t testing.TB, client *http.Client, url string) string {
	t.Helper()
	resp := lifeRetry(t, func() (*http.Response, error) { return client.Get(url) })
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %s %q, %v", url, resp.Status, body, err)
	}
	return string(body)
}

// lifeRetry tries again if there is no answer: stock TCP drops connections
// for a moment after a reload, which is another test's business.
func lifeRetry(t testing.TB, do func() (*http.Response, error)) *http.Response {
	t.Helper()
	var err error
	for range 10 {
		var resp *http.Response
		if resp, err = do(); err == nil {
			return resp
		}
	}
	t.Fatal(err)
	return nil
}

func lifeTry(client *http.Client, url string) (status int, body string, err error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func lifeReload(t testing.TB, s *testcaddy.Server, config testcaddy.Config) {
	t.Helper()
	if err := s.Reload(config); err != nil {
		t.Fatalf("reload: %v", err)
	}
}

// lifeRefused loads a configuration that must be refused with a message that
// has all the texts in it.
func lifeRefused(t testing.TB, s *testcaddy.Server, config testcaddy.Config, texts ...string) {
	t.Helper()
	err := s.Reload(config)
	if err == nil {
		t.Fatalf("the configuration was loaded:\n%s", s.Expand(config))
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the message %q does not have %q", err, text)
		}
	}
}

// lifeBook returns what life-main noted in a folder.
func lifeBook(t testing.TB, dir string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "book"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func lifeCount(t testing.TB, dir, line string) int {
	t.Helper()
	n := 0
	for _, noted := range lifeBook(t, dir) {
		if noted == line {
			n++
		}
	}
	return n
}

func lifeAwait(t testing.TB, dir, line string) {
	t.Helper()
	testcaddy.Eventually(t, fmt.Sprintf("the note %q", line), func() bool {
		return slices.Contains(lifeBook(t, dir), line)
	})
}

// lifeOutlast loads two further configurations and waits until the first of
// them is released. What was replaced by it has been draining for longer
// then, so that only its users can have kept it.
func lifeOutlast(t testing.TB, s *testcaddy.Server, value string, config ...string) {
	t.Helper()
	lifeReload(t, s, lifeApp(value+"a", config...))
	lifeReload(t, s, lifeApp(value+"b", config...))
	lifeAwait(t, s.Dir, "release "+value+"a last")
}

// lifeHold is a request that waits in its handler until let is called.
type lifeHold struct {
	t    testing.TB
	s    *testcaddy.Server
	id   string
	body io.ReadCloser
	r    *bufio.Reader
}

// lifeStartHold returns when the handler has sent its first line, which must
// be the value.
func lifeStartHold(t testing.TB, s *testcaddy.Server, value string) *lifeHold {
	t.Helper()
	h := &lifeHold{t: t, s: s, id: "hold-" + value}
	client := testcaddy.Client(t, "http")
	resp := lifeRetry(t, func() (*http.Response, error) { return client.Get(s.HTTP("/hold/" + h.id)) })
	t.Cleanup(func() { _ = resp.Body.Close() })
	h.body, h.r = resp.Body, bufio.NewReader(resp.Body)
	if line := h.line(); line != value {
		t.Fatalf("the request got %q, want %q", line, value)
	}
	return h
}

func (h *lifeHold) line() string {
	h.t.Helper()
	line, err := h.r.ReadString('\n')
	if err != nil {
		h.t.Fatalf("reading a held answer: %v", err)
	}
	return strings.TrimSpace(line)
}

// let ends the handler and returns the last line of its answer.
func (h *lifeHold) let() string {
	h.t.Helper()
	client := testcaddy.Client(h.t, "http")
	resp := lifeRetry(h.t, func() (*http.Response, error) { return client.Post(h.s.HTTP("/let/"+h.id), "", nil) })
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		h.t.Fatalf("there is no request %s: %s", h.id, resp.Status)
	}
	return h.line()
}

// lifeDial opens a WebSocket.
func lifeDial(t testing.TB, s *testcaddy.Server, path string) *websocket.Conn {
	t.Helper()
	var conn *websocket.Conn
	lifeRetry(t, func() (resp *http.Response, err error) {
		conn, resp, err = websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.HTTP(path), "http"), nil)
		return resp, err
	})
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
	return conn
}

// lifeEcho sends a message and returns the answer.
func lifeEcho(conn *websocket.Conn, message string) (string, error) {
	if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		return "", err
	}
	_, answer, err := conn.ReadMessage()
	return string(answer), err
}

func lifeMustEcho(t testing.TB, conn *websocket.Conn, value string) {
	t.Helper()
	if got, err := lifeEcho(conn, "hi"); err != nil || got != value+":hi" {
		t.Fatalf("the WebSocket answers %q, %v; want %q", got, err, value+":hi")
	}
}

// lifeAdapt returns a configuration as the JSON object that Caddy makes of it.
func lifeAdapt(t testing.TB, s *testcaddy.Server, config testcaddy.Config) map[string]any {
	t.Helper()
	file := filepath.Join(s.Dir, "Adapted")
	if err := os.WriteFile(file, []byte(s.Expand(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := testcaddy.Run(t, s.Dir, "adapt", "--adapter", "caddyfile", "--config", file)
	_, out, _ = strings.Cut("\n"+out, "\n{") // behind warnings
	var object map[string]any
	if err := json.NewDecoder(strings.NewReader("{" + out)).Decode(&object); err != nil || code != 0 {
		t.Fatalf("adapt: %v, code %d: %s", err, code, out)
	}
	return object
}

// lifeLoadLateFailure loads a configuration that fails after all its apps
// have started, which is when Caddy looks at the config loader: one that does
// not exist, or, if the failure is to take seconds, one that nobody answers.
func lifeLoadLateFailure(t testing.TB, s *testcaddy.Server, config testcaddy.Config, slowly bool) {
	t.Helper()
	loader, message := map[string]any{"module": "nowhere"}, "loading config loader module"
	if slowly {
		loader = map[string]any{"module": "http", "url": "http://127.0.0.1:1/"}
		message = "loading dynamic config"
	}
	object := lifeAdapt(t, s, config)
	object["admin"].(map[string]any)["config"] = map[string]any{"load": loader}
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Load("application/json", string(body)); err == nil || !strings.Contains(err.Error(), message) {
		t.Fatalf("want the error %q, got %v", message, err)
	}
}
