//go:build !linux

package testcaddy

import (
	"net"
	"testing"
)

// Port returns a port of 127.0.0.1 that the operating system chose, and that
// was free a moment ago.
func Port(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port
}
