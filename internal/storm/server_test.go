package storm_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/quic-go/quic-go/http3"

	"github.com/caddy-gin/caddy-gin/internal/storm"
	"github.com/caddy-gin/caddy-gin/internal/storm/stormapp"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

// server is a real server of net/http, or of quic-go.
type server struct {
	address  string
	requests atomic.Int64

	close func()
}

// serve starts a server with the app. If between is not nil and returns true, it
// has answered the n-th request instead of the app.
func serve(t *testing.T, protocol storm.Protocol, between func(w http.ResponseWriter, r *http.Request, app http.Handler, n int64) bool) *server {
	t.Helper()
	s := new(server)
	app := gin.New()
	stormapp.Routes(app, storm.Greeting(7))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := s.requests.Add(1); between == nil || !between(w, r, app, n) {
			app.ServeHTTP(w, r)
		}
	})
	if protocol == storm.HTTP3 {
		s.serve3(t, handler)
		return s
	}
	h := httptest.NewUnstartedServer(handler)
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	switch protocol {
	case storm.Unix:
		dir, err := os.MkdirTemp("", "storm") // short
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		_ = h.Listener.Close()
		s.address = filepath.Join(dir, "s")
		if h.Listener, err = net.Listen("unix", s.address); err != nil {
			t.Fatal(err)
		}
		h.Start()
	case storm.HTTP1:
		h.Start()
	default:
		h.EnableHTTP2 = protocol != storm.TLS
		h.StartTLS()
	}
	if s.address == "" {
		s.address = h.Listener.Addr().String()
	}
	s.close = func() { _ = h.Config.Close() }
	t.Cleanup(s.close)
	return s
}

func (s *server) serve3(t *testing.T, handler http.Handler) {
	t.Helper()
	certificates := httptest.NewUnstartedServer(nil)
	certificates.StartTLS()
	certificates.Close()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: certificates.TLS.Certificates})} //nolint:gosec // for the test only
	go func() { _ = h.Serve(packets) }()
	s.address = packets.LocalAddr().String()
	s.close = func() { _, _ = h.Close(), packets.Close() }
	t.Cleanup(s.close)
}

// load runs one load until the server has had so many requests.
func (s *server) load(t *testing.T, load storm.Load, requests int64) *storm.Result {
	t.Helper()
	return s.run(t, load, func(ctx context.Context) error {
		for s.requests.Load() < requests {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Millisecond):
			}
		}
		return nil
	})
}

func (s *server) run(t *testing.T, load storm.Load, during func(context.Context) error) *storm.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	load.Address = s.address
	results, err := storm.Run(ctx, storm.Plan{Loads: []storm.Load{load}, Storm: during})
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}
