package testcaddy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// FreePort returns a port that nobody has, of 127.0.0.1 and [::1], for
// listeners that share with nobody, and so not with the reservation of [Port]
// either. It lies below the ports that the system hands out; a file keeps other
// tests off it until the end of the test.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		file := filepath.Join(os.TempDir(), fmt.Sprintf("caddy-gin-port-%d", port))
		lock, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			if errors.Is(err, os.ErrExist) {
				continue
			}
			t.Fatal(err)
		}
		_ = lock.Close()
		if free(port) {
			t.Cleanup(func() { _ = os.Remove(file) })
			return port
		}
		_ = os.Remove(file)
	}
	t.Fatal("no free port")
	return 0
}

func free(port int) bool {
	for _, network := range []string{"tcp4", "tcp6"} {
		ln, err := net.Listen(network, fmt.Sprintf(":%d", port))
		if err != nil {
			return false
		}
		_ = ln.Close()
	}
	packets, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	return packets.Close() == nil
}
