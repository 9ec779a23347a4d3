//go:build linux || darwin || freebsd

package listeners

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// HandOver returns duplicates of all listening sockets of this package, which
// go on here too. Sockets that are being replaced by others are not among
// them.
func HandOver() (*Handover, error) {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	h := new(Handover)
	for t, s := range sockets.sockets {
		if s.lent || s.lost() {
			continue
		}
		b := Bequest{Target: t, Options: s.options, MPTCP: s.mptcp, Shares: s.shares}
		if s.file != nil {
			stat := s.file.stat()
			b.Device, b.Inode, b.Folders = uint64(stat.Dev), stat.Ino, s.file.folders //nolint:unconvert // 32 bits on other systems
		}
		file, err := duplicate(s.fd, t.String())
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("%s: %w", t, err)
		}
		b.File = file
		h.Sockets = append(h.Sockets, b)
	}
	for _, l := range lentSockets() {
		file, err := duplicate(l.fd, l.name)
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("systemd/%s: %w", l.name, err)
		}
		h.Lent = append(h.Lent, LentSocket{l.name, file})
	}
	for key, g := range sockets.groups {
		if g.port != key.port {
			h.Ports = append(h.Ports, BoundPort{key.network, key.host, key.device, key.port, g.port})
		}
	}
	return h, nil
}

// LentPackets returns the local addresses of the UDP sockets that systemd passed: a
// successor has the same sockets, not ones of its own.
func LentPackets() (addrs []string) {
	for _, l := range lentSockets() {
		if l.target.Network == "udp" {
			addrs = append(addrs, l.target.Addr.String())
		}
	}
	return addrs
}

func duplicate(fd int, name string) (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// inheritedLent are the sockets of systemd that a predecessor handed over. Set
// by Inherit, before anything else happens.
var inheritedLent []lent

// Inherit has configurations take over a predecessor's sockets, as soon as they ask
// for them. It must be called before the first of them is loaded. The files of Unix
// sockets stay the predecessor's until Possess.
func Inherit(h *Handover) error {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	sockets.inherited = make(map[Target]*socket)
	sockets.ports = make(map[groupKey]uint16)
	for _, p := range h.Ports {
		sockets.ports[groupKey{p.Network, p.Host, p.Device, p.Port}] = p.Bound
	}
	for _, b := range h.Sockets {
		s, err := b.socket()
		if errors.Is(err, errFileGone) {
			continue // it is to be made anew
		}
		if err != nil {
			return fmt.Errorf("%s: %w", b.Target, err)
		}
		sockets.inherited[b.Target] = s
	}
	for _, b := range h.Lent {
		fd, err := unix.FcntlInt(b.File.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("systemd/%s: %w", b.Name, err)
		}
		l := lent{name: b.Name, fd: fd, file: os.NewFile(uintptr(fd), b.Name)}
		l.target, l.err = targetOf(fd)
		inheritedLent = append(inheritedLent, l)
	}
	return nil
}

// socket makes a socket of a bequest, with a descriptor of its own.
func (b *Bequest) socket() (*socket, error) {
	fd, err := unix.FcntlInt(b.File.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // File.Fd may have changed that for all
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	s := &socket{kernel: kernel{fd: fd, mptcp: b.MPTCP}, target: b.Target, options: b.Options, shares: b.Shares}
	switch {
	case b.Target.Network == "unix":
		s.family = unix.AF_UNIX
	case b.Target.Addr.Addr().Is4():
		s.family = unix.AF_INET
	default:
		s.family = unix.AF_INET6
	}
	if b.Inode == 0 {
		return s, nil
	}
	file := &socketFile{path: b.Target.Path, folders: b.Folders, others: true, config: context.Background()}
	if err := file.identify(); err == nil && uint64(file.stat().Dev) == b.Device && file.stat().Ino == b.Inode { //nolint:unconvert // 32 bits on other systems
		s.file = file
		return s, nil
	}
	s.kernel.close()
	return nil, errFileGone
}

// errFileGone is for a Unix socket that clients cannot reach any more.
var errFileGone = errors.New("the socket's file is gone")

// inherit returns the predecessor's socket for a target, or nil. The mutex must
// be held.
func (p *pool) inherit(t Target) *socket {
	s := p.inherited[t]
	delete(p.inherited, t)
	return s
}

// EndInheritance closes what nobody has asked for, and returns the targets that
// somebody did ask for.
func EndInheritance() (taken []Target) {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	for _, s := range sockets.inherited {
		s.close()
	}
	sockets.inherited = nil
	for t := range sockets.sockets {
		taken = append(taken, t)
	}
	return taken
}

// Possess makes the files of Unix sockets this process' own, which the
// predecessor has given up by Bequeath: it removes them at its end.
func Possess() { setOthers(false, func(Target) bool { return true }) }

// Bequeath makes the files of Unix sockets those of the successor.
func Bequeath(taken []Target) {
	set := make(map[Target]bool)
	for _, t := range taken {
		set[t] = true
	}
	setOthers(true, func(t Target) bool { return set[t] })
}

func setOthers(others bool, concerned func(Target) bool) {
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	for t, s := range sockets.sockets {
		if s.file != nil && concerned(t) {
			s.file.others = others
		}
	}
}
