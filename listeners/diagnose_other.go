//go:build !linux && !darwin && !freebsd

package listeners

import (
	"errors"
	"net"
	"syscall"
)

// winsock are the numbers of Windows' sockets, which have no names in package
// syscall, as the numbers that other systems use.
var winsock = map[syscall.Errno]syscall.Errno{
	10013: syscall.EACCES,
	10022: syscall.EINVAL,
	10024: syscall.EMFILE,
	10042: syscall.ENOPROTOOPT,
	10045: syscall.EOPNOTSUPP,
	10047: syscall.EAFNOSUPPORT,
	10048: syscall.EADDRINUSE,
	10049: syscall.EADDRNOTAVAIL,
}

// errnoOf returns the number that an error wraps, or 0.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if portable, ok := winsock[errno]; ok {
			return portable
		}
		return errno
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && isInterfaceMissing(op) {
		return syscall.ENODEV
	}
	return 0
}

func deniedFolder(string) (folder, right string) { return "", "" }

func describeOwner(string) string { return "" }

func openFilesLimit() string { return "" }

// longestSocketPath is that of Windows, whose field has 108 bytes.
func longestSocketPath() int { return 107 }
