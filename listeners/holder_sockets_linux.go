package listeners

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// netTables is the folder of the kernel's tables for the network namespace of
// the calling thread.
const netTables = "/proc/thread-self/net/"

// kernelSocket is a socket as the kernel lists it.
type kernelSocket struct {
	addr    netip.AddrPort // IPv4 is unmapped
	path    string         // of a Unix socket
	family  string
	uid     int
	inode   uint64
	idle    bool
	overlap overlap
}

func (s *kernelSocket) address() string {
	if s.path != "" {
		return s.path
	}
	return s.addr.String()
}

// ipSockets lists the sockets that overlap t. The kernel's diagnosis interface
// is asked first: it knows which wildcards take both families, and it looks at
// one port only. Where it is missing (hardened units forbid AF_NETLINK), the
// tables in /proc must do.
func ipSockets(t Target) []kernelSocket {
	var overlapping []kernelSocket
	for _, v6 := range []bool{false, true} {
		list, err := diagSockets(t.Network, v6, t.Addr.Port())
		if err != nil {
			list = tableSockets(t.Network, v6, t.Addr.Port())
		}
		for _, s := range list {
			if s.overlap = overlapOf(t, s.addr, s.family); s.overlap != apart {
				overlapping = append(overlapping, s)
			}
		}
	}
	return overlapping
}

// setAddr sets the address and derives the family from it.
func (s *kernelSocket) setAddr(addr netip.Addr, port uint16, wildcard string) {
	switch addr = addr.Unmap(); {
	case addr.Is4():
		s.family = familyIPv4
	case addr.IsUnspecified():
		s.family = wildcard
	default:
		s.family = familyIPv6
	}
	s.addr = netip.AddrPortFrom(addr, port)
}

// States of /proc/net/tcp.
const (
	stateSynRecv = "03"
	stateListen  = "0A"
)

// tableSockets reads the sockets on one port from /proc/net/tcp, tcp6, udp or
// udp6.
func tableSockets(network string, v6 bool, port uint16) []kernelSocket {
	name := network
	if v6 {
		name += "6"
	}
	file, err := os.Open(netTables + name)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	var list []kernelSocket
	lines := bufio.NewScanner(file)
	lines.Scan() // the heading
	for lines.Scan() {
		// slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode
		field := strings.Fields(lines.Text())
		if len(field) < 10 {
			continue
		}
		if network == "tcp" && field[3] != stateListen {
			if field[3] == stateSynRecv {
				continue // of a listening socket, in kernels before 4.4
			}
			break // those that listen come first
		}
		addr, err := parseTableAddr(field[1])
		if err != nil || addr.Port() != port {
			continue
		}
		s := kernelSocket{uid: -1}
		s.setAddr(addr.Addr(), port, familyMaybeDual)
		if uid, err := strconv.Atoi(field[7]); err == nil {
			s.uid = uid
		}
		s.inode, _ = strconv.ParseUint(field[9], 10, 64) // 0 belongs to no process
		list = append(list, s)
	}
	return list
}

// parseTableAddr parses "0100007F:1F90": words in the machine's byte order, and
// the port.
func parseTableAddr(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for word := raw; len(word) >= 4; word = word[4:] {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, uint16(number)), nil
}

// unixSockets lists the bound sockets whose name may mean path: the same name
// in the abstract namespace, the same last element in the file system. A file
// that is gone is held by nobody.
func unixSockets(path string) []kernelSocket {
	abstract := strings.HasPrefix(path, "@")
	if !abstract {
		if _, err := os.Lstat(path); os.IsNotExist(err) {
			return nil
		}
	}
	file, err := os.Open(netTables + "unix")
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	var list []kernelSocket
	for lines := bufio.NewScanner(file); lines.Scan(); {
		s, ok := parseUnixLine(lines.Text())
		if !ok || strings.HasPrefix(s.path, "@") != abstract {
			continue
		}
		if s.path == path || !abstract && filepath.Base(s.path) == filepath.Base(path) {
			list = append(list, s)
		}
	}
	if !abstract {
		list = atFile(path, list)
	}
	return list
}

// parseUnixLine parses a line of /proc/net/unix: address, references,
// protocol, flags, type, state, inode, and a name that may hold spaces.
// Accepted connections carry the name of their listener and are left out.
func parseUnixLine(line string) (kernelSocket, bool) {
	var field [7]string
	rest := line
	for i := range field {
		rest = strings.TrimLeft(rest, " ")
		field[i], rest, _ = strings.Cut(rest, " ")
	}
	const unconnected, accepting = "01", 0x10000
	if rest == "" || field[5] != unconnected {
		return kernelSocket{}, false
	}
	inode, err := strconv.ParseUint(field[6], 10, 64)
	if err != nil {
		return kernelSocket{}, false
	}
	flags, err := strconv.ParseUint(field[3], 16, 64)
	if err != nil {
		return kernelSocket{}, false
	}
	const datagram = "0002"
	idle := flags&accepting == 0 && field[4] != datagram
	return kernelSocket{path: rest, family: familyUnix, uid: -1, inode: inode, idle: idle, overlap: same}, true
}
