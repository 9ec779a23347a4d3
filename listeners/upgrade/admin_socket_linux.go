package upgrade

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	_ "unsafe" // for go:linkname

	"github.com/caddyserver/caddy/v2"
)

// caddySockets are the Unix sockets that Caddy has open, by network and path, with
// the lock that guards them: where a path is among them, Caddy uses the socket
// instead of removing the file and binding another one, and in between clients
// find nobody. There is no other way to say that a socket is open already. If a
// release of Caddy has no such variable, the map is empty, nothing is found in
// it, and that moment is there again.
//
//go:linkname caddySockets github.com/caddyserver/caddy/v2.unixSockets
var caddySockets map[string]interface{ File() (*os.File, error) }

//go:linkname caddySocketsMu github.com/caddyserver/caddy/v2.unixSocketsMu
var caddySocketsMu sync.Mutex

// adminSocket is the Unix socket of an admin endpoint that is to take another's
// place. It has a name of its own until clients are to find it. It belongs to the
// goroutine that handles messages, but for remove.
type adminSocket struct {
	path     string
	own      string // its name until it is published
	listener net.Listener
	file     syscall.Stat_t
}

// besides is the name of a process' socket beside the one that clients know.
func besides(path string, pid int) string { return fmt.Sprintf("%s.%d", path, pid) }

// openAdminSocket opens a socket for an address of Caddy's network unix, and has
// Caddy find it there. It returns nil if that does not work: Caddy opens it in its
// own way then, and says what is wrong.
func openAdminSocket(address string) *adminSocket {
	to, err := caddy.ParseNetworkAddress(address)
	if err != nil {
		return nil
	}
	s := &adminSocket{path: listenPath(to)}
	s.own = besides(s.path, os.Getpid())
	mode := strings.TrimPrefix(to.Host, s.path)
	to.Host = s.own + mode
	opened, err := to.Listen(context.Background(), 0, net.ListenConfig{})
	if err != nil {
		return nil
	}
	s.listener = opened.(net.Listener)
	if syscall.Lstat(s.own, &s.file) != nil || !rename(to.Network+"/"+s.own, to.Network+"/"+s.path) {
		s.discard()
		return nil
	}
	if _, err := os.Lstat(s.path); err != nil && os.Rename(s.own, s.path) == nil {
		s.own = s.path // Caddy changes the mode of what is there
	}
	return s
}

// rename has Caddy know a socket by another name. It is false if it knows none by
// the first.
func rename(from, to string) bool {
	caddySocketsMu.Lock()
	defer caddySocketsMu.Unlock()
	socket, found := caddySockets[from]
	if found {
		delete(caddySockets, from)
		caddySockets[to] = socket
	}
	return found
}

// publish has clients find the socket. s may be nil.
func (s *adminSocket) publish() error {
	if s == nil {
		return nil
	}
	if err := os.Rename(s.own, s.path); err != nil {
		return fmt.Errorf("taking over the admin socket: %w", err)
	}
	return s.listener.Close() // Caddy has it still
}

// discard removes a socket that nobody uses. s may be nil.
func (s *adminSocket) discard() {
	if s != nil {
		_ = s.listener.Close()
		_ = os.Remove(s.own)
	}
}

// remove removes the file, if it is still this socket's: Caddy knows the first name
// only. s may be nil.
func (s *adminSocket) remove() {
	var now syscall.Stat_t
	if s != nil && syscall.Lstat(s.path, &now) == nil && now.Dev == s.file.Dev && now.Ino == s.file.Ino {
		_ = os.Remove(s.path)
	}
}
