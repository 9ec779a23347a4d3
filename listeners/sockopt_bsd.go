//go:build darwin || freebsd

package listeners

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

const protoMPTCP = 0 // listeners are plain TCP

var sockopts = map[string]sockopt{
	"rcvbuf": {level: unix.SOL_SOCKET, name: unix.SO_RCVBUF},
	"sndbuf": {level: unix.SOL_SOCKET, name: unix.SO_SNDBUF},
	"tos":    {level: unix.IPPROTO_IP, name: unix.IP_TOS, level6: unix.IPPROTO_IPV6, name6: unix.IPV6_TCLASS},
}

// supported returns why an option does not work on this platform.
func supported(name string) error {
	if _, ok := sockopts[name]; ok || onFile[name] || name == "backlog" || name == "share" || passive[name] && name != "mptcp" {
		return nil
	}
	return fmt.Errorf("%s does not have it", runtime.GOOS)
}

func bindToDevice(int, string) error { return unix.ENOPROTOOPT }

func refusedOnMPTCP(error) bool { return false }

// divert does nothing: connections that reach the socket while it retires are
// handed over.
func (k *kernel) divert() {}

func (k *kernel) reportMore(map[string]string) {}

func (k *kernel) queue() (depth, limit int, err error) { return 0, 0, unix.EOPNOTSUPP }
