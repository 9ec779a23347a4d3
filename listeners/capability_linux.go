package listeners

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// withBindCapability runs bind again with CAP_NET_BIND_SERVICE in effect, if
// it failed with EACCES and the process is permitted that capability but does
// not have it in effect: `setcap cap_net_bind_service=+p` on the binary, as
// Caddy supports it for its own networks.
func withBindCapability(port uint16, bind func() error) error {
	err := bind()
	if !errors.Is(err, unix.EACCES) || port == 0 || !raisable() {
		return err
	}
	result := make(chan error)
	go func() {
		// capabilities are a thread's; this one ends with the goroutine, as
		// it is not unlocked
		runtime.LockOSThread()
		if raise(true) != nil {
			result <- err
			return
		}
		again := bind()
		_ = raise(false)
		result <- again
	}()
	return <-result
}

const bindService = 1 << unix.CAP_NET_BIND_SERVICE

func capabilities() (unix.CapUserHeader, [2]unix.CapUserData, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return header, data, err
}

func raisable() bool {
	_, data, err := capabilities()
	return err == nil && data[0].Permitted&bindService != 0 && data[0].Effective&bindService == 0
}

// raise puts the capability of this thread into effect, or out of it.
func raise(effective bool) error {
	header, data, err := capabilities()
	if err != nil {
		return err
	}
	data[0].Effective &^= bindService
	if effective {
		data[0].Effective |= bindService
	}
	return unix.Capset(&header, &data[0])
}
