package listeners

import (
	"sync"
	"sync/atomic"
)

// accepting lets all listeners of the process accept, or none.
var accepting gate

// gate is open at first. Its mutex guards opened.
type gate struct {
	shut   atomic.Bool
	mu     sync.Mutex
	opened chan struct{} // closed by open; nil while the gate is open
}

// await waits until the gate is open. It is false if done is closed before.
func (g *gate) await(done <-chan struct{}) bool {
	if !g.shut.Load() {
		return true
	}
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened == nil {
		return true
	}
	select {
	case <-opened:
		return true
	case <-done:
		return false
	}
}

// Pause stops all listeners of this package from accepting, without closing
// anything: connections wait in the accept queues, where another process that
// has the same sockets may take them. A connection that is being accepted at
// that moment is served.
func Pause() {
	accepting.mu.Lock()
	if accepting.opened == nil {
		accepting.opened = make(chan struct{})
		accepting.shut.Store(true)
	}
	accepting.mu.Unlock()
	sockets.mu.Lock()
	defer sockets.mu.Unlock()
	for _, s := range sockets.sockets {
		for _, h := range s.handles {
			_ = h.ln.SetDeadline(past) // wakes Accept, which meets the gate then
		}
	}
}

// Resume undoes Pause.
func Resume() {
	accepting.mu.Lock()
	defer accepting.mu.Unlock()
	if accepting.opened != nil {
		accepting.shut.Store(false)
		close(accepting.opened)
		accepting.opened = nil
	}
}
