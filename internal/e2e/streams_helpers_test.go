package e2e

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// streamSite returns a configuration with the app stream-main, whose value and
// further options are given.
func streamSite(seamless bool, value string, options ...string) testcaddy.Config {
	directive := "\tgin stream-main {\n\t\tconfig {\n\t\t\tvalue " + value + "\n\t\t}\n\t\t" +
		strings.Join(options, "\n\t\t") + "\n\t}\n"
	config := testcaddy.Config{
		Sites: "http://localhost:$HTTP {\n" + directive + "}\nhttps://localhost:$HTTPS {\n\ttls internal\n" + directive + "}\n",
		Env:   []string{"GODEBUG=http2xconnect=1"},
	}
	if seamless {
		config.Global = "servers {\n\tlistener_wrappers {\n\t\tseamless\n\t}\n}"
	}
	return config
}

// streamBoth runs a test with and without the listener wrapper.
func streamBoth(t *testing.T, test func(t *testing.T, seamless bool)) {
	t.Parallel()
	for name, seamless := range map[string]bool{"stock": false, "seamless": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, seamless)
		})
	}
}

// streamCrowd are clients with a stream each. They note the order in which
// streams end, against the number of messages that the others have got.
type streamCrowd struct {
	value    string
	messages atomic.Int64
	draining atomic.Int64 // streams that have told of draining
	wrong    chan string  // the first message of another configuration
	clients  sync.WaitGroup
	mu       sync.Mutex
	closers  []io.Closer
	ends     []int64 // messages at the end of each stream
}

// streamOpen opens WebSockets and event streams of each kind, and returns when
// all have got a message.
func streamOpen(t *testing.T, s *testcaddy.Server, value string, sockets, events int) *streamCrowd {
	t.Helper()
	crowd := &streamCrowd{value: value, wrong: make(chan string, 1)}
	for range sockets {
		conn := lifeDial(t, s, "/ws")
		lifeMustEcho(t, conn, value)
		crowd.closers = append(crowd.closers, conn)
		crowd.clients.Go(func() { crowd.socket(conn) })
	}
	for range events {
		crowd.follow(t, streamGet(t, testcaddy.Client(t, "http"), s.HTTP("/events")))
	}
	return crowd
}

// streamGet returns the body of an answer that has begun.
func streamGet(t *testing.T, client *http.Client, url string) io.ReadCloser {
	t.Helper()
	resp := lifeRetry(t, func() (*http.Response, error) { return client.Get(url) })
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %s", url, resp.Status)
	}
	return resp.Body
}

// follow adds an event stream that has begun.
func (crowd *streamCrowd) follow(t *testing.T, body io.ReadCloser) {
	t.Helper()
	r := bufio.NewReader(body)
	if event, err := protocolEvent(r); err != nil || event != "data:"+crowd.value+"\n" {
		t.Fatalf("the first event is %q, %v", event, err)
	}
	crowd.closers = append(crowd.closers, body)
	crowd.clients.Go(func() {
		defer crowd.end()
		for {
			event, err := protocolEvent(r)
			if err != nil {
				return
			}
			crowd.message(strings.TrimSuffix(strings.TrimPrefix(event, "data:"), "\n"))
		}
	})
}

func (crowd *streamCrowd) socket(conn *websocket.Conn) {
	defer crowd.end()
	if conn.WriteMessage(websocket.TextMessage, nil) != nil {
		return
	}
	for {
		_, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		value, _, echo := strings.Cut(string(message), ":")
		if crowd.message(value); echo && conn.WriteMessage(websocket.TextMessage, nil) != nil {
			return
		}
	}
}

func (crowd *streamCrowd) message(value string) {
	switch value {
	case crowd.value:
	case "draining":
		crowd.draining.Add(1)
	default:
		select {
		case crowd.wrong <- value:
		default:
		}
	}
	crowd.messages.Add(1)
}

func (crowd *streamCrowd) end() {
	crowd.mu.Lock()
	defer crowd.mu.Unlock()
	crowd.ends = append(crowd.ends, crowd.messages.Load())
}

// mustLive fails the test if a stream has ended, or got what it should not.
func (crowd *streamCrowd) mustLive(t *testing.T) {
	t.Helper()
	n := crowd.messages.Load()
	testcaddy.Eventually(t, "further messages", func() bool {
		return crowd.messages.Load() > n+int64(2*len(crowd.closers))
	})
	crowd.mu.Lock()
	defer crowd.mu.Unlock()
	if len(crowd.ends) > 0 {
		t.Errorf("%d streams of %q have ended", len(crowd.ends), crowd.value)
	}
	select {
	case value := <-crowd.wrong:
		t.Errorf("a stream of %q got %q", crowd.value, value)
	default:
	}
}

// await waits until all streams have ended.
func (crowd *streamCrowd) await(t *testing.T) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		crowd.clients.Wait()
		close(ended)
	}()
	testcaddy.Eventually(t, "the end of the streams", func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
}

// leave has the clients go.
func (crowd *streamCrowd) leave(t *testing.T) {
	t.Helper()
	for _, c := range crowd.closers {
		_ = c.Close()
	}
	crowd.await(t)
}

// spread returns how many streams ended after another one had ended and
// messages had come in between.
func (crowd *streamCrowd) spread() (n int) {
	crowd.mu.Lock()
	defer crowd.mu.Unlock()
	for i := 1; i < len(crowd.ends); i++ {
		if crowd.ends[i] > crowd.ends[i-1] {
			n++
		}
	}
	return n
}

// streamLogged returns the entries about replaced configurations that are
// still in use.
func streamLogged(s *testcaddy.Server) (found []testcaddy.Entry) {
	for _, e := range s.Log() {
		if e.Msg == "an earlier configuration still has streams or requests" {
			found = append(found, e)
		}
	}
	return found
}

// streamReleased tells whether a configuration has been released.
func streamReleased(s *testcaddy.Server, value string) bool {
	for _, e := range s.Log() {
		if e.Msg == "released" && e.Fields["value"] == value {
			return true
		}
	}
	return false
}
