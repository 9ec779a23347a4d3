package caddygin

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A client on a Unix socket whom the kernel does not tell about must not pass
// for somebody else, which it would with "not".
func TestUnixPeerThatIsNotKnownIsAnError(t *testing.T) {
	t.Parallel()
	m := &MatchUnixPeer{uids: []int{0}}
	for network, addr := range map[string]net.Addr{
		"unix": &net.UnixAddr{Net: "unix", Name: "/run/app.sock"},
		"tcp":  &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80},
		"none": nil,
	} {
		r, err := http.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, addr), http.MethodGet, "/", nil)
		if err != nil {
			t.Fatal(err)
		}
		match, err := m.MatchWithError(r)
		if match {
			t.Errorf("%s: matches", network)
		}
		if want := "the peer of this connection to /run/app.sock is not known"; (network == "unix") != (err != nil) ||
			err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got the error %v", network, err)
		}
	}
}
