package listeners

import (
	"bytes"
	"net"
	"os"
	"syscall"
)

// ipv6Usable returns EAFNOSUPPORT if IPv6 is switched off: sockets of it can be
// bound nevertheless where only the addresses are disabled, but nobody would
// ever reach them.
func ipv6Usable() error {
	all, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	if err != nil {
		return os.NewSyscallError("socket", syscall.EAFNOSUPPORT)
	}
	if !bytes.Equal(bytes.TrimSpace(all), []byte("1")) {
		return nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil //nolint:nilerr // not known to be off
	}
	for _, addr := range addrs {
		if ip, ok := addr.(*net.IPNet); ok && ip.IP.To4() == nil {
			return nil // on one interface it is not
		}
	}
	return os.NewSyscallError("socket", syscall.EAFNOSUPPORT)
}
