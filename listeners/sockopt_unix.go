//go:build linux || darwin || freebsd

package listeners

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// sockopt is an option of sockets that is a number.
type sockopt struct {
	level, name   int
	level6, name6 int   // for IPv6 besides or instead, if not 0
	unit          int64 // by which the value is divided; 0 is 1
}

// passive are options that do nothing to a socket of the kernel once it is
// open: they are about connections, about finding an address, or the socket
// is bound already.
var passive = map[string]bool{
	"fallback": true, "keepalive": true, "maxconn": true, "mkdir": true, "retry": true, "use": true,
	"mptcp": true, // chosen when the socket is made
}

// onFile are options of the file of a Unix socket.
var onFile = map[string]bool{modeOption: true, "user": true, "group": true}

// set makes an option what options say: its value, or the system's default if
// it is not among them.
func (k *kernel) set(name string, options Options) error {
	value := options[name]
	switch {
	case passive[name]:
		return nil
	case onFile[name]:
		if k.file == nil {
			return nil // not bound yet
		}
		return k.file.own(options)
	case name == "backlog":
		return unix.Listen(k.fd, backlog(options))
	case name == "device":
		return bindToDevice(k.fd, value.Text)
	case name == "share":
		if !options.on("share") {
			return nil
		}
		return k.share()
	}
	return setNumber(k.fd, k.family, name, value)
}

// setNumber sets an option of the platform's table.
func setNumber(fd, family int, name string, value Value) error {
	o, ok := sockopts[name]
	if !ok {
		return errors.ErrUnsupported
	}
	n := int(value.N / max(o.unit, 1))
	if family == unix.AF_INET6 && o.name6 != 0 {
		if err := unix.SetsockoptInt(fd, o.level6, o.name6, n); err != nil {
			return err
		}
		if v6only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err != nil || v6only != 0 {
			return err
		}
	}
	return unix.SetsockoptInt(fd, o.level, o.name, n)
}

// fixed returns why an option cannot change on a live socket, or "". What the
// system would not take back, should the configuration fail to load, is fixed
// too.
func (s *socket) fixed(name string, after Options) string {
	_, had := s.options[name]
	_, has := after[name]
	switch {
	case name == "mptcp" && (after["mptcp"].Text == "on" && !s.mptcp || after["mptcp"].Text == "off" && s.mptcp):
		return "a socket is of MPTCP from its start or never" + instead
	case name == "share" && after.on("share") != s.options.on("share"):
		return "a socket is shared from its start or never" + instead
	case (name == "rcvbuf" || name == "sndbuf") && had != has:
		return "the system does not go back to sizes of its own choice, so a size can change, but not come or go" + instead
	}
	return ""
}

const instead = "; stop the site first, or use another port"

// report returns the options that are not the system's defaults, as the
// kernel tells them.
func (k *kernel) report() map[string]string {
	report := make(map[string]string)
	for name, o := range sockopts {
		level, opt := o.level, o.name
		if k.family == unix.AF_INET6 && o.name6 != 0 {
			level, opt = o.level6, o.name6
		}
		n, err := unix.GetsockoptInt(k.fd, level, opt)
		if err != nil || n == 0 {
			continue
		}
		switch {
		case o.unit > 0:
			report[name] = brief(time.Duration(n) * time.Duration(o.unit))
		case specs[name].bare == "on":
			report[name] = "on"
		default:
			report[name] = strconv.FormatUint(uint64(uint32(n)), 10)
		}
	}
	if k.mptcp {
		report["mptcp"] = "on"
	}
	if n, err := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, reusePort); err == nil && n != 0 {
		report["share"] = "on"
	}
	k.reportMore(report)
	return report
}
