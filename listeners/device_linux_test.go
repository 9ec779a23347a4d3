package listeners

import (
	"fmt"
	"testing"
)

// An address on one device and the same on all are two addresses: neither has
// the other's limit.
func TestMaxConnOfAnotherDeviceIsItsOwn(t *testing.T) {
	_, port := poolAnyPort(t, "ipv4/127.0.0.1?maxconn=1:PORT")
	poolOpen(t, poolConfig(t), fmt.Sprintf("ipv4/127.0.0.1?device=lo:%d", port))
	limits := make(map[string]int64)
	for _, s := range Sockets() {
		if s.Bound == fmt.Sprintf("127.0.0.1:%d", port) || s.Bound == fmt.Sprintf("127.0.0.1%%lo:%d", port) {
			limits[s.Asked] = s.MaxConn
		}
	}
	want := map[string]int64{fmt.Sprintf("ipv4/127.0.0.1?maxconn=1:%d", port): 1, fmt.Sprintf("ipv4/127.0.0.1?device=lo:%d", port): 0}
	if fmt.Sprint(limits) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", limits, want)
	}
}
