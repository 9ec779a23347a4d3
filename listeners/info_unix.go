//go:build linux || darwin || freebsd

package listeners

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// packetKernel describes a UDP socket.
func packetKernel(t Target) kernel {
	if t.Addr.Addr().Is4() {
		return kernel{family: unix.AF_INET}
	}
	return kernel{family: unix.AF_INET6}
}

// ask adds what the kernel tells. It is false if the socket is closed.
func (e *entry) ask() bool {
	for _, by := range e.by {
		if e.askBy(by) {
			e.Permissions = e.permissions()
			return true
		}
	}
	return false
}

// askBy asks through the descriptor of a listener or connection, which is not
// closed meanwhile.
func (e *entry) askBy(by any) bool {
	conn, ok := by.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Control(func(fd uintptr) {
		k := e.kernel
		k.fd = int(fd)
		e.Options = k.report()
		e.Shares = e.Options["share"] == "on"
		if depth, limit, err := k.queue(); err == nil {
			e.Queue = &Queue{Depth: depth, Limit: limit}
		}
	}) == nil
}

// permissions returns those of a Unix socket's file, or nil: it may have none,
// or somebody has removed it or put another one in its place.
func (e *entry) permissions() *Permissions {
	if e.path == "" || strings.HasPrefix(e.path, "@") {
		return nil
	}
	info, err := os.Lstat(e.path)
	if err != nil || kindOf(info.Mode()) != "" || e.kernel.file != nil && !os.SameFile(info, e.kernel.file.info) {
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	uid, gid := int(stat.Uid), int(stat.Gid)
	return &Permissions{
		Owner: userName(uid), Group: groupName(gid), UID: uid, GID: gid,
		Mode: fmt.Sprintf("%04o", uint32(stat.Mode)&0o7777), //nolint:unconvert // 16 bits on other systems
	}
}

// groupName returns the name of a group, or "".
func groupName(gid int) string {
	g, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		return ""
	}
	return g.Name
}
