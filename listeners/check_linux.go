package listeners

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// mute has the kernel drop whatever arrives at a socket, and reports whether it
// does: a client that connects while the socket listens is as if its packet had
// been lost, and finds the port as it was when it tries again.
func mute(fd int) bool {
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop}) == nil
}

// aside keeps a socket out of the group of those that share its address, before
// it receives or listens: none of their clients is led to it. It reports
// whether that worked, which it does not if the socket has a device.
func aside(fd int) bool {
	const nowhere = 1<<31 - 1 // no such interface, see divert
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, nowhere) == nil
}

// discreet reports whether a UDP socket can be put aside before it is bound: not
// with a device of its own, and not at a single IPv6 address, for which the
// kernel looks the interface up.
func discreet(t Target, options Options) bool {
	_, device := options["device"]
	return !device && (t.Addr.Addr().Is4() || t.Addr.Addr().IsUnspecified())
}

// sameProgram reports whether a process runs the file that this one runs.
func sameProgram(pid int) bool {
	if pid == 0 || pid == os.Getpid() {
		return false
	}
	own, err := os.Stat("/proc/self/exe")
	if err != nil {
		return false
	}
	other, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/exe")
	return err == nil && os.SameFile(own, other)
}

// capable reports whether a capability is in effect.
func capable(capability int) bool {
	_, data, err := capabilities()
	return err == nil && data[capability/32].Effective&(1<<(capability%32)) != 0
}

func mayGiveAway() bool { return capable(unix.CAP_CHOWN) }

func mayRemoveAll() bool { return capable(unix.CAP_FOWNER) }
