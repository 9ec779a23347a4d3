package steer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settling is how long a process may take to close the second of two sockets
// that it has on an address, as a reload of Caddy has for a moment.
const settling = 2 * time.Second

// alone waits until a socket is the only one of its group. It looks twice: the kernel
// tells of its sockets in parts, and leaves one out if others are closed in between.
func alone(fd int) error {
	for deadline := time.Now().Add(settling); ; time.Sleep(5 * time.Millisecond) {
		var inodes []string
		for range 2 {
			found, err := members(fd)
			if err != nil {
				return fmt.Errorf("looking for other sockets on the address: %w", err)
			}
			if len(found) >= len(inodes) {
				inodes = found
			}
		}
		if len(inodes) <= 1 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d sockets share the address (inodes %s), want that of this process alone", len(inodes), strings.Join(inodes, ", "))
		}
	}
}

// members returns the inodes of the sockets that may be in a group with one:
// those of UDP, or of TCP that listen, of its family and user with its address.
func members(fd int) ([]string, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt SO_TYPE", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	path, local := "/proc/self/net/udp", ""
	if kind == unix.SOCK_STREAM {
		path = "/proc/self/net/tcp"
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		local = procAddr(name.Addr[:], name.Port)
	case *unix.SockaddrInet6:
		path += "6"
		local = procAddr(name.Addr[:], name.Port)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var inodes []string
	lines := bufio.NewScanner(file)
	lines.Scan() // the heading
	for lines.Scan() {
		// sl local_address rem_address st queues timer retrnsmt uid timeout inode
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || kind == unix.SOCK_STREAM && fields[3] != tcpListen {
			break // the kernel lists those that listen first
		}
		if fields[1] == local && fields[7] == fmt.Sprint(stat.Uid) && !slices.Contains(inodes, fields[9]) {
			inodes = append(inodes, fields[9])
		}
	}
	return inodes, lines.Err()
}

const tcpListen = "0A"

// procAddr returns an address as the kernel writes it in /proc/net: words of
// the machine's byte order in hexadecimal.
func procAddr(ip []byte, port int) string {
	var text strings.Builder
	for ; len(ip) >= 4; ip = ip[4:] {
		fmt.Fprintf(&text, "%08X", binary.NativeEndian.Uint32(ip))
	}
	fmt.Fprintf(&text, ":%04X", port)
	return text.String()
}
