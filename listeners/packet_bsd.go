//go:build darwin || freebsd

package listeners

import "net/netip"

func restrict(int, []netip.Addr) error { return errSeveral }
