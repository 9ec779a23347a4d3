//go:build !linux

package listeners

import (
	"runtime"
	"strconv"
)

// heldBy finds nothing: these systems tell who holds a socket only through
// programs of their own, which inspect names.
func heldBy(Target) []held { return nil }

// inspect returns the command that shows who holds t; with all also sockets
// that do not listen.
func inspect(t Target, all bool) string {
	port := strconv.Itoa(int(t.Addr.Port()))
	switch {
	case runtime.GOOS == "windows" && t.Network == "unix":
		return ""
	case runtime.GOOS == "windows":
		return "`netstat -ano | findstr :" + port + "`"
	case runtime.GOOS == "freebsd" && t.Network == "unix":
		return "`sockstat -u | grep -F " + shellQuote(t.Path) + "`"
	case runtime.GOOS == "freebsd":
		return "`sockstat -P " + t.Network + " -p " + port + "`"
	case t.Network == "unix":
		return "`lsof -U | grep -F " + shellQuote(t.Path) + "`"
	case t.Network == "udp":
		return "`lsof -nP -iUDP:" + port + "`"
	case all:
		return "`lsof -nP -iTCP:" + port + "`"
	}
	return "`lsof -nP -iTCP:" + port + " -sTCP:LISTEN`"
}
