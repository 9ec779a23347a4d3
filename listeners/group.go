package listeners

import (
	"maps"
	"slices"
)

// groupKey is an address as it was asked for, without its options but for
// device, which makes another address of it.
type groupKey struct {
	network, host, device string
	port                  uint16
}

// group is what the configurations that ask for the same address have in
// common besides sockets.
type group struct {
	key       groupKey
	port      uint16            // the port that is bound: not that of the key if it is 0 or taken
	limit     limiter           // of all connections of the address
	tallies   map[Target]*tally // by what their sockets are bound to
	listeners []*Listener       // newest last
}

// tally returns the tally of a socket of the group.
func (g *group) tally(t Target) *tally {
	if g.tallies[t] == nil {
		g.tallies[t] = &tally{limit: &g.limit}
	}
	return g.tallies[t]
}

// tidy forgets the tallies of sockets that no listener has any more.
func (g *group) tidy() {
	maps.DeleteFunc(g.tallies, func(_ Target, t *tally) bool {
		return !slices.ContainsFunc(g.listeners, func(l *Listener) bool {
			return slices.ContainsFunc(l.handles, func(h *handle) bool { return h.tally == t })
		})
	})
}

// leave ends a listener's part in its group.
func (p *pool) leave(l *Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range l.handles {
		p.release(h)
	}
	g := l.group
	g.listeners = slices.DeleteFunc(g.listeners, func(other *Listener) bool { return other == l })
	if len(g.listeners) == 0 {
		delete(p.groups, g.key)
		return
	}
	g.tidy()
	g.limit.set(g.listeners[len(g.listeners)-1])
}

// boundPort returns the port at which an address is bound now.
func (p *pool) boundPort(key groupKey) uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g, ok := p.groups[key]; ok {
		return g.port
	}
	return key.port
}
