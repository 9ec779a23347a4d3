package upgrade

import (
	"errors"
	"sync/atomic"
)

// ErrBusy is why a configuration is not loaded.
var ErrBusy = errors.New("an upgrade of the binary is under way: configurations are not loaded until it has ended; try again then (GET /gin/generations tells)")

// loads says which configurations may be loaded.
var loads loadGate

// loadGate refuses configurations during an upgrade, but for the one that a
// successor loads itself.
type loadGate struct {
	busy   atomic.Bool
	admit  atomic.Bool // one with an admin endpoint, once
	strict atomic.Bool // none, whatever it has
}

// AdmitAdmin is called for each configuration with an admin endpoint, before that
// is opened, and returns why it must not be loaded, or nil.
func AdmitAdmin() error {
	if loads.busy.Load() && !loads.admit.CompareAndSwap(true, false) {
		return ErrBusy
	}
	return nil
}

// AdmitApp is the same for each configuration with Gin apps.
func AdmitApp() error {
	if loads.strict.Load() {
		return ErrBusy
	}
	return nil
}

// end lets everything be loaded.
func (g *loadGate) end() {
	g.strict.Store(false)
	g.busy.Store(false)
}
