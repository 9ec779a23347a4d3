package listeners

import (
	"os"
	"syscall"
)

// bindOnly binds a socket that Go has made, so that it need not listen. It does
// not know zones.
func bindOnly(fd uintptr, t Target) (known bool, err error) {
	ip, port := t.Addr.Addr(), int(t.Addr.Port())
	var addr syscall.Sockaddr
	switch {
	case ip.Zone() != "":
		return false, nil
	case ip.Is4():
		addr = &syscall.SockaddrInet4{Addr: ip.As4(), Port: port}
	default:
		addr = &syscall.SockaddrInet6{Addr: ip.As16(), Port: port}
	}
	return true, os.NewSyscallError("bind", syscall.Bind(syscall.Handle(fd), addr))
}
