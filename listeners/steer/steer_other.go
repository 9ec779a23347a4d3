//go:build !linux

package steer

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
)

// errUnsupported names what is missing.
var errUnsupported = fmt.Errorf("steering between processes needs BPF programs on SO_REUSEPORT, which %s does not have: %w", runtime.GOOS, errors.ErrUnsupported)

// Group is a group of listening TCP sockets with one address. There is none on
// this system.
type Group struct{}

// Own fails on this system.
func Own(func(net.Addr) bool) ([]*Group, error) { return nil, errUnsupported }

// Addr returns nil.
func (*Group) Addr() net.Addr { return nil }

// Keep fails on this system.
func (*Group) Keep() error { return errUnsupported }

// Give fails on this system.
func (*Group) Give() error { return errUnsupported }

// Detach fails on this system.
func (*Group) Detach() error { return errUnsupported }

// End fails on this system.
func (*Group) End() error { return errUnsupported }

// Close does nothing.
func (*Group) Close() error { return nil }

// PacketGroup is a group of UDP sockets with one address that carry QUIC. There
// is none on this system.
type PacketGroup struct{}

// PacketConn is a UDP socket.
type PacketConn interface {
	net.PacketConn
	syscall.Conn
}

// Packets returns a group whose methods fail.
func Packets(PacketConn, Mark) *PacketGroup { return &PacketGroup{} }

// Keep fails on this system.
func (*PacketGroup) Keep() error { return errUnsupported }

// Give fails on this system.
func (*PacketGroup) Give() error { return errUnsupported }

// Detach fails on this system.
func (*PacketGroup) Detach() error { return errUnsupported }

// Held is a UDP socket that gets all packets of its address. There is none on this
// system.
type Held struct{}

// Hold fails on this system.
func Hold(func(net.Addr) bool) ([]*Held, error) { return nil, errUnsupported }

// Addr returns nil.
func (*Held) Addr() net.Addr { return nil }

// Free fails on this system.
func (*Held) Free() error { return errUnsupported }

// Close does nothing.
func (*Held) Close() error { return nil }
