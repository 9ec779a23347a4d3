package listeners

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Parts of linux/inet_diag.h and linux/sock_diag.h that package unix lacks.
const (
	diagByFamily    = 20 // SOCK_DIAG_BY_FAMILY
	diagV6Only      = 11 // INET_DIAG_SKV6ONLY
	diagRequestSize = 56 // struct inet_diag_req_v2
	diagAnswerSize  = 72 // struct inet_diag_msg
	diagListen      = 10 // TCP_LISTEN
	diagBound       = 13 // TCP_BOUND_INACTIVE, since Linux 6.8; before, it selects nothing
	diagMessages    = 1 << 16
)

// diagSockets asks the kernel for the sockets of one family on one port, as ss
// does: all of UDP, those of TCP that listen or are only bound.
func diagSockets(network string, v6 bool, port uint16) (list []kernelSocket, err error) {
	err = diagDump(network, diagRequest(network, v6, port), func(data []byte) {
		if s, ok := parseDiag(data, port, network); ok {
			list = append(list, s)
		}
	})
	return list, err
}

// diagDump asks the kernel for a list of sockets, and passes the answers on.
func diagDump(network string, request []byte, each func(data []byte)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	// the kernel answers at once or never
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return err
	}
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for range diagMessages {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(m.Data) >= 4 && binary.NativeEndian.Uint32(m.Data) == 0 {
					return nil // the end of what is no list
				}
				return fmt.Errorf("the kernel cannot list %s sockets", network)
			case diagByFamily:
				each(m.Data)
			}
		}
	}
	return fmt.Errorf("more than %d messages of %s sockets", diagMessages, network)
}

func diagRequest(network string, v6 bool, port uint16) []byte {
	family, protocol, states := byte(unix.AF_INET), byte(unix.IPPROTO_UDP), ^uint32(0)
	if v6 {
		family = unix.AF_INET6
	}
	if network == "tcp" {
		protocol, states = unix.IPPROTO_TCP, 1<<diagListen|1<<diagBound
	}
	request := diagHeader(diagRequestSize)
	request = append(request, family, protocol, 0, 0)
	request = binary.NativeEndian.AppendUint32(request, states)
	request = binary.BigEndian.AppendUint16(request, port)
	return request[:cap(request)]
}

// diagHeader begins a request of a size.
func diagHeader(size int) []byte {
	request := make([]byte, 0, unix.NLMSG_HDRLEN+size)
	request = binary.NativeEndian.AppendUint32(request, uint32(cap(request)))
	request = binary.NativeEndian.AppendUint16(request, diagByFamily)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	return append(request, make([]byte, 8)...) // sequence, port: one request needs neither
}

// diagAttribute returns an attribute of an answer, or nil.
func diagAttribute(attributes []byte, name uint16) []byte {
	for len(attributes) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(attributes))
		if size < unix.SizeofNlAttr || size > len(attributes) {
			return nil
		}
		if binary.NativeEndian.Uint16(attributes[2:]) == name {
			return attributes[unix.SizeofNlAttr:size]
		}
		attributes = attributes[min((size+3)&^3, len(attributes)):]
	}
	return nil
}

// parseDiag parses a struct inet_diag_msg and the attributes that follow.
func parseDiag(data []byte, port uint16, network string) (kernelSocket, bool) {
	if len(data) < diagAnswerSize || binary.BigEndian.Uint16(data[4:]) != port {
		return kernelSocket{}, false
	}
	s := kernelSocket{
		uid:   int(binary.NativeEndian.Uint32(data[64:])),
		inode: uint64(binary.NativeEndian.Uint32(data[68:])),
		idle:  network == "tcp" && data[1] != diagListen,
	}
	addr := netip.AddrFrom4([4]byte(data[8:12]))
	if data[0] == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(data[8:24]))
	}
	wildcard := familyMaybeDual
	if v6only := diagAttribute(data[diagAnswerSize:], diagV6Only); len(v6only) > 0 {
		wildcard = familyDual
		if v6only[0] != 0 {
			wildcard = familyIPv6
		}
	}
	s.setAddr(addr, port, wildcard)
	return s, true
}
