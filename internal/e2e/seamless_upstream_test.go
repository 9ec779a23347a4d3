package e2e

import (
	"io"
	"net"
	"net/http"
	"testing"
)

// seamUpstream is a server whose answers begin at once and end when the
// channel is closed.
func seamUpstream(t testing.TB, path string) chan struct{} {
	t.Helper()
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-end:
			_, _ = io.WriteString(w, "ended\n")
		case <-r.Context().Done():
		}
	})}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return end
}
