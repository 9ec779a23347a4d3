package listeners

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	reusePort  = unix.SO_REUSEPORT
	protoMPTCP = unix.IPPROTO_MPTCP
)

var sockopts = map[string]sockopt{
	"defer_accept": {level: unix.IPPROTO_TCP, name: unix.TCP_DEFER_ACCEPT, unit: int64(time.Second)},
	"fastopen":     {level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN},
	"freebind":     {level: unix.IPPROTO_IP, name: unix.IP_FREEBIND},
	"mark":         {level: unix.SOL_SOCKET, name: unix.SO_MARK},
	"rcvbuf":       {level: unix.SOL_SOCKET, name: unix.SO_RCVBUF},
	"sndbuf":       {level: unix.SOL_SOCKET, name: unix.SO_SNDBUF},
	"tos":          {level: unix.IPPROTO_IP, name: unix.IP_TOS, level6: unix.IPPROTO_IPV6, name6: unix.IPV6_TCLASS},
	"transparent":  {level: unix.IPPROTO_IP, name: unix.IP_TRANSPARENT},
	"user_timeout": {level: unix.IPPROTO_TCP, name: unix.TCP_USER_TIMEOUT, unit: int64(time.Millisecond)},
}

// supported returns why an option does not work on this platform.
func supported(string) error { return nil }

func bindToDevice(fd int, device string) error {
	return unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
}

// refusedOnMPTCP reports whether an error may be one of MPTCP, so that plain
// TCP is worth a try: the kernel has none, or has not that option for it.
func refusedOnMPTCP(err error) bool {
	return errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) ||
		errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL)
}

// divert keeps new connections away from a listening socket, so that they
// reach another one that covers its address, while handshakes that have begun
// go on: the look-up of a listener compares devices, and this one does not
// exist. It needs no privilege [measured, Linux 6.18].
func (k *kernel) divert() {
	const nowhere = 1<<31 - 1
	_ = unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, nowhere)
}

// reportMore adds what the portable report cannot tell.
func (k *kernel) reportMore(report map[string]string) {
	if device, err := unix.GetsockoptString(k.fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err == nil && device != "" {
		report["device"] = device
	}
	if _, limit, err := k.queue(); err == nil {
		report["backlog"] = strconv.Itoa(limit)
	}
}

// queue returns how many connections wait to be accepted, and how many may.
func (k *kernel) queue() (depth, limit int, err error) {
	if k.family == unix.AF_UNIX {
		return unixQueue(k.fd)
	}
	info, err := unix.GetsockoptTCPInfo(k.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, 0, err
	}
	return int(info.Unacked), int(info.Sacked), nil // what tcp_get_info does for listeners
}
