package storm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/storm"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestNothingFailsWithoutReason(t *testing.T) {
	t.Parallel()
	for _, protocol := range storm.Protocols() {
		for _, behaviour := range storm.Behaviours() {
			if !protocol.Speaks(behaviour) {
				continue
			}
			t.Run(fmt.Sprint(protocol, "/", behaviour), func(t *testing.T) {
				t.Parallel()
				needsCurl(t, protocol)
				s := serve(t, protocol, nil)
				const clients = 5
				r := s.load(t, storm.Load{Protocol: protocol, Behaviour: behaviour, Clients: clients}, 2)
				if r.Problems() != "" || r.Goodbyes > 0 {
					t.Errorf("got %s, %d goodbyes", r.Problems(), r.Goodbyes)
				}
				if r.Requests < clients || r.Storm.Total() == 0 || r.Calm.Total()+r.Storm.Total() > r.Requests {
					t.Errorf("got %d requests, %d answers before the storm and %d during it", r.Requests, r.Calm.Total(), r.Storm.Total())
				}
				want := int64(clients)
				switch {
				case behaviour == storm.Connect:
					want = r.Requests
				case (protocol == storm.HTTP2 || protocol == storm.HTTP3) && behaviour != storm.Idle:
					want = 2
				}
				if r.Opened != want {
					t.Errorf("opened %d connections, want %d", r.Opened, want)
				}
			})
		}
	}
}

func needsCurl(t *testing.T, protocol storm.Protocol) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil && protocol == storm.Curl {
		t.Skip("curl is not installed")
	}
}

// What a bad server does with a request.
var (
	status500 = func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusInternalServerError)
	}
	truncate = func(w http.ResponseWriter, r *http.Request, app http.Handler) {
		whole := httptest.NewRecorder()
		app.ServeHTTP(whole, r)
		w.Header().Set("Content-Length", strconv.Itoa(whole.Body.Len()))
		_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	lie = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { _, _ = w.Write([]byte("storm 0000")) }
	eof = func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
	rst = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
)

func TestFailuresAreSeen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		protocol   storm.Protocol
		behaviours []storm.Behaviour // default: all with plain requests
		do         func(http.ResponseWriter, *http.Request, http.Handler)
		kind       storm.Kind
		closes     bool
	}{
		{"status", storm.HTTP1, nil, status500, storm.Status, false},
		{"status", storm.Unix, []storm.Behaviour{storm.WebSocket, storm.Events}, status500, storm.Status, false},
		{"status", storm.HTTP2, nil, status500, storm.Status, false},
		{"status", storm.HTTP3, nil, status500, storm.Status, false},
		{"status", storm.Curl, []storm.Behaviour{storm.KeepAlive, storm.Post}, status500, storm.Status, false},
		{"truncated", storm.HTTP1, nil, truncate, storm.Body, true},
		{"truncated", storm.TLS, nil, truncate, storm.Body, true},
		{"truncated", storm.HTTP2, nil, truncate, storm.Stream, false},
		{"truncated", storm.HTTP3, nil, truncate, storm.Stream, false},
		{"truncated", storm.Curl, []storm.Behaviour{storm.KeepAlive}, truncate, storm.Stream, false},
		{"wrong", storm.HTTP1, nil, lie, storm.Body, false},
		{"wrong", storm.HTTP2, nil, lie, storm.Body, false},
		{"wrong", storm.HTTP1, []storm.Behaviour{storm.Events}, lie, storm.Body, false},
		{"wrong", storm.Curl, []storm.Behaviour{storm.KeepAlive}, lie, storm.Body, false},
		{"eof", storm.HTTP1, []storm.Behaviour{storm.KeepAlive, storm.Think, storm.Post, storm.Download, storm.Events}, eof, storm.EOF, true},
		{"eof", storm.TLS, []storm.Behaviour{storm.KeepAlive, storm.Connect}, eof, storm.EOF, true},
		{"eof", storm.Unix, []storm.Behaviour{storm.KeepAlive, storm.WebSocket}, eof, storm.EOF, true},
		{"stream", storm.HTTP2, nil, eof, storm.Stream, false},
		{"stream", storm.HTTP3, nil, eof, storm.Stream, false},
		{"reset", storm.HTTP1, []storm.Behaviour{storm.KeepAlive, storm.Post, storm.WebSocket, storm.Events}, rst, storm.Reset, true},
	} {
		if test.behaviours == nil {
			test.behaviours = []storm.Behaviour{storm.Connect, storm.KeepAlive, storm.Think, storm.Post, storm.Download}
		}
		for _, behaviour := range test.behaviours {
			t.Run(fmt.Sprint(test.name, "/", test.protocol, "/", behaviour), func(t *testing.T) {
				t.Parallel()
				needsCurl(t, test.protocol)
				const failures = 2
				s := serve(t, test.protocol, func(w http.ResponseWriter, r *http.Request, app http.Handler, n int64) bool {
					if n <= failures {
						test.do(w, r, app)
					}
					return n <= failures
				})
				r := s.load(t, storm.Load{Protocol: test.protocol, Behaviour: behaviour, Clients: 1}, failures+1)
				if r.Failures() != failures || r.Failed[test.kind] != failures {
					t.Errorf("got %q, want %d times %s", r.Problems(), failures, test.kind)
				}
				closed := int64(0)
				if test.closes && behaviour != storm.Connect {
					closed = failures
				}
				if r.ClosedByServer != closed {
					t.Errorf("got %d closed connections, want %d", r.ClosedByServer, closed)
				}
			})
		}
	}
}

func TestClosedConnectionsAreSeen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		protocol   storm.Protocol
		behaviours []storm.Behaviour
	}{
		{storm.HTTP1, []storm.Behaviour{storm.KeepAlive, storm.Think, storm.Post, storm.Upload, storm.Download, storm.Idle}},
		{storm.TLS, []storm.Behaviour{storm.KeepAlive, storm.Idle}},
		{storm.HTTP2, []storm.Behaviour{storm.KeepAlive, storm.Think, storm.Post, storm.Upload, storm.Download, storm.Idle}},
		{storm.Curl, []storm.Behaviour{storm.KeepAlive, storm.Post}},
		{storm.Unix, []storm.Behaviour{storm.KeepAlive, storm.Idle}},
	} {
		for _, behaviour := range test.behaviours {
			t.Run(fmt.Sprint(test.protocol, "/", behaviour), func(t *testing.T) {
				t.Parallel()
				needsCurl(t, test.protocol)
				s := serve(t, test.protocol, func(w http.ResponseWriter, _ *http.Request, _ http.Handler, _ int64) bool {
					w.Header().Set("Connection", "close") // GOAWAY in HTTP/2
					return false
				})
				r := s.load(t, storm.Load{Protocol: test.protocol, Behaviour: behaviour, Clients: 1}, 2)
				if r.Failures() > 0 || r.ClosedByServer == 0 {
					t.Errorf("got %q, want closed connections and no failure", r.Problems())
				}
			})
		}
	}
}

func TestClientsRepeatWhatACorrectClientRepeats(t *testing.T) {
	t.Parallel()
	second := func(w http.ResponseWriter, r *http.Request, app http.Handler, n int64) bool {
		if n == 2 {
			eof(w, r, app)
		}
		return n == 2
	}
	closing := func(w http.ResponseWriter, _ *http.Request, _ http.Handler, _ int64) bool {
		w.Header().Set("Connection", "close") // GOAWAY in HTTP/2: later streams are not processed
		return false
	}
	for _, test := range []struct {
		protocol         storm.Protocol
		behaviour        storm.Behaviour
		between          func(http.ResponseWriter, *http.Request, http.Handler, int64) bool
		requests         int64
		repeated, failed int64 // -1 is any number
	}{
		{storm.TLS, storm.KeepAlive, second, 3, 1, 0},
		{storm.TLS, storm.Post, second, 3, 0, 1},
		{storm.TLS, storm.Connect, second, 3, 0, 1}, // a new connection is not repeated
		{storm.HTTP1, storm.KeepAlive, second, 3, 0, 1},
		{storm.HTTP2, storm.KeepAlive, closing, 100, -1, 0},
		{storm.HTTP2, storm.Post, closing, 100, -1, 0},
	} {
		t.Run(fmt.Sprint(test.protocol, "/", test.behaviour), func(t *testing.T) {
			t.Parallel()
			clients := 1
			if test.protocol == storm.HTTP2 {
				clients = 4 // on one connection
			}
			s := serve(t, test.protocol, test.between)
			r := s.load(t, storm.Load{Protocol: test.protocol, Behaviour: test.behaviour, Clients: clients, Repeats: true}, test.requests)
			if r.Failures() != test.failed || test.repeated >= 0 && r.Repeated != test.repeated {
				t.Errorf("got %q, %d repeated, want %d and %d", r.Problems(), r.Repeated, test.failed, test.repeated)
			}
			if test.behaviour != storm.Post && r.Unreplayable > 0 {
				t.Errorf("%d requests without a body could not be repeated", r.Unreplayable)
			}
		})
	}
}

func TestGreetingsAreNoted(t *testing.T) {
	t.Parallel()
	s := serve(t, storm.HTTP1, nil)
	before := time.Now()
	r := s.load(t, storm.Load{Protocol: storm.HTTP1, Behaviour: storm.KeepAlive, Clients: 2}, 10)
	seen, ok := r.Greeted[storm.Greeting(7)]
	if !ok || len(r.Greeted) != 1 || seen.Connection.Before(before) || !seen.Request.After(seen.Connection) {
		t.Errorf("got %v", r.Greeted)
	}
}

func TestConnectionsClosedWhileIdleAreNoFailure(t *testing.T) {
	t.Parallel()
	for _, protocol := range []storm.Protocol{storm.HTTP1, storm.TLS, storm.HTTP2, storm.HTTP3, storm.Unix} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			s := serve(t, protocol, nil)
			const clients = 3
			r := s.run(t, storm.Load{Protocol: protocol, Behaviour: storm.Idle, Clients: clients}, func(context.Context) error {
				s.close() // all have made one request and are waiting for the next
				return nil
			})
			if r.ClosedByServer != clients {
				t.Errorf("%d connections were closed, want %d", r.ClosedByServer, clients)
			}
		})
	}
}

func TestAbsentServersRefuse(t *testing.T) {
	t.Parallel()
	for _, protocol := range []storm.Protocol{storm.HTTP1, storm.TLS, storm.HTTP2, storm.Curl, storm.Unix} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			needsCurl(t, protocol)
			s := &server{address: filepath.Join(t.TempDir(), "s")}
			if protocol != storm.Unix {
				s.address = net.JoinHostPort("127.0.0.1", strconv.Itoa(testcaddy.Port(t)))
			}
			r := s.load(t, storm.Load{Protocol: protocol, Behaviour: storm.KeepAlive, Clients: 2}, 0)
			if r.Failures() < 2 || r.Failed[storm.Refused] != r.Failures() || r.ClosedByServer > 0 {
				t.Errorf("got %q, want only %s", r.Problems(), storm.Refused)
			}
		})
	}
}

func TestImpossiblePlansAreRefused(t *testing.T) {
	t.Parallel()
	for want, load := range map[string]storm.Load{
		`unknown protocol "gopher"`:        {Protocol: "gopher", Behaviour: storm.Think, Clients: 1},
		`unknown behaviour "sleep"`:        {Protocol: storm.HTTP1, Behaviour: "sleep", Clients: 1},
		"there is no websocket over http2": {Protocol: storm.HTTP2, Behaviour: storm.WebSocket, Clients: 1},
		"has 0 clients":                    {Protocol: storm.HTTP2, Behaviour: storm.Idle},
	} {
		_, err := storm.Run(t.Context(), storm.Plan{Loads: []storm.Load{load}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestAFailedStormIsAnError(t *testing.T) {
	t.Parallel()
	s := serve(t, storm.HTTP1, nil)
	broken := errors.New("no wind")
	_, err := storm.Run(t.Context(), storm.Plan{
		Loads: []storm.Load{{Protocol: storm.HTTP1, Behaviour: storm.Think, Address: s.address, Clients: 1}},
		Storm: func(context.Context) error { return broken },
	})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
