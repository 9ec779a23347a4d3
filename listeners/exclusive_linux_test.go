package listeners

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel goes on to let sockets with SO_REUSEPORT in, although the one
// that is bound does not share any more: forgetSharing answers that.
func TestAPortThatWasSharedIsExclusiveAgain(t *testing.T) {
	t.Parallel()
	sharing := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
	for _, c := range []struct {
		name, address string
		v6only        bool
		nobody        bool
	}{
		{"IPv4", "127.0.0.1:8080", false, false},
		{"IPv4 without rights", "127.0.0.1:8080", false, true},
		{"all of IPv4 without rights", "0.0.0.0:8080", false, true},
		{"IPv6 without rights", "[::]:8080", true, true},
		{"both families", "[::]:8080", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			newNetwork(t)
			if c.nobody {
				becomeNobody(t)
			}
			target := Target{Network: "tcp", Addr: netip.MustParseAddrPort(c.address), V6Only: c.v6only}
			k, err := bindTCP(target, Options{}, true, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer k.close()
			foreign := func() error {
				return bindWith(target, 0, func(fd int) error {
					if target.Addr.Addr().Is6() {
						v6only := 0
						if c.v6only {
							v6only = 1
						}
						if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only); err != nil {
							return err
						}
					}
					return sharing(fd)
				})
			}
			if err := foreign(); err != nil {
				t.Fatalf("while the port is shared: %v", err)
			}
			if err := unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0); err != nil {
				t.Fatal(err)
			}
			if err := foreign(); err != nil {
				t.Logf("this kernel forgets by itself: %v", err)
			}
			forgetSharing(k.fd)
			if err := foreign(); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("another socket: %v", err)
			}
			if ln, err := k.listener(); err != nil {
				t.Error(err)
			} else {
				_ = ln.Close()
			}
		})
	}
}
