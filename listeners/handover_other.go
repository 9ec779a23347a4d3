//go:build !linux && !darwin && !freebsd

package listeners

import "errors"

// errNoHandover is the error where sockets cannot be handed over.
var errNoHandover = errors.New("sockets cannot be handed over to another process on this system; they can on Linux, macOS and FreeBSD")

// HandOver returns an error here.
func HandOver() (*Handover, error) { return nil, errNoHandover }

// Inherit returns an error here.
func Inherit(*Handover) error { return errNoHandover }

func (*pool) inherit(Target) *socket { return nil }

// EndInheritance does nothing here.
func EndInheritance() []Target { return nil }

// Possess does nothing here.
func Possess() {}

// Bequeath does nothing here.
func Bequeath([]Target) {}

// LentPackets returns nil here.
func LentPackets() []string { return nil }
