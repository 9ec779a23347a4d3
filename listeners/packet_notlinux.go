//go:build !linux

package listeners

import "errors"

// errSeveral is what several addresses get where one UDP socket cannot be
// restricted to them.
var errSeveral = errors.New("HTTP/3 on several addresses of the host, and not on all, works on Linux only; bind one address, or say `protocols h1 h2` in the servers option")
