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
func diagSockets(network string, v6 bool, port uint16) ([]kernelSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	// the kernel answers at once or never
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return nil, err
	}
	if err := unix.Sendto(fd, diagRequest(network, v6, port), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	var list []kernelSocket
	buf := make([]byte, 1<<16)
	for range diagMessages {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return list, nil
			case unix.NLMSG_ERROR:
				return nil, fmt.Errorf("the kernel cannot list %s sockets", network)
			case diagByFamily:
				if s, ok := parseDiag(m.Data, port, network); ok {
					list = append(list, s)
				}
			}
		}
	}
	return nil, fmt.Errorf("more than %d messages of %s sockets", diagMessages, network)
}

func diagRequest(network string, v6 bool, port uint16) []byte {
	family, protocol, states := byte(unix.AF_INET), byte(unix.IPPROTO_UDP), ^uint32(0)
	if v6 {
		family = unix.AF_INET6
	}
	if network == "tcp" {
		protocol, states = unix.IPPROTO_TCP, 1<<diagListen|1<<diagBound
	}
	request := make([]byte, 0, unix.NLMSG_HDRLEN+diagRequestSize)
	request = binary.NativeEndian.AppendUint32(request, uint32(cap(request)))
	request = binary.NativeEndian.AppendUint16(request, diagByFamily)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = append(request, make([]byte, 8)...) // sequence, port: one request needs neither
	request = append(request, family, protocol, 0, 0)
	request = binary.NativeEndian.AppendUint32(request, states)
	request = binary.BigEndian.AppendUint16(request, port)
	return request[:cap(request)]
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
	for rest := data[diagAnswerSize:]; len(rest) >= unix.SizeofNlAttr; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < unix.SizeofNlAttr || size > len(rest) {
			break
		}
		if binary.NativeEndian.Uint16(rest[2:]) == diagV6Only && size > unix.SizeofNlAttr {
			wildcard = familyDual
			if rest[unix.SizeofNlAttr] != 0 {
				wildcard = familyIPv6
			}
		}
		rest = rest[min((size+3)&^3, len(rest)):]
	}
	s.setAddr(addr, port, wildcard)
	return s, true
}
