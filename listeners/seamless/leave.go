package seamless

import (
	"cmp"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// departure is how a process gives its connections to another one.
type departure struct {
	move  func(key string, conn syscall.Conn) error
	plain func(key string) bool
	slots chan struct{} // has as many elements as connections are being moved
}

// slots is how many connections are moved at once.
const slots = 16

// LeaveStats count what became of the connections since Leave.
type LeaveStats struct {
	// Moved is how many connections another process has taken over.
	Moved int64
	// Kept is how many it did not take: they ended with their next answers.
	Kept int64
	// Aborted is how many connections Abort closed.
	Aborted int64
}

// left are the fields of LeaveStats.
var left struct{ moved, kept, aborted atomic.Int64 }

// Left returns the counts so far. Safe for concurrent use.
func Left() LeaveStats {
	return LeaveStats{Moved: left.moved.Load(), Kept: left.kept.Load(), Aborted: left.aborted.Load()}
}

// Leave has the process give its connections away, from now on and for good.
//
// Those of HTTP/1 without TLS are given to move while no request is on its way:
// at once if they are idle, else when they become idle. A move gets the key of
// an address and a connection to it, of which it takes a duplicate of the
// descriptor. It returns nil when the other process has that, and an error if
// that one will never read from it; then the connection ends with its next
// answer. Moves run in many goroutines, 16 at a time.
//
// Plain tells at which addresses the other process takes such connections. It
// is called often, by several goroutines, and must not wait. Other connections
// of HTTP/1 end with their next answers, those of HTTP/2 are told to go away and
// end after their requests; what was hijacked goes on.
//
// Leave does not wait. It must be called once only.
func Leave(move func(key string, conn syscall.Conn) error, plain func(key string) bool) {
	d := &departure{move: move, plain: plain, slots: make(chan struct{}, slots)}
	for _, e := range fronts.epochs() {
		e.leave(d)
	}
}

// epochs returns the epochs of all fronts.
func (r *registry) epochs() []*epoch {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*epoch
	for _, f := range r.fronts {
		all = append(all, f.epochs...)
	}
	return all
}

// leave has an epoch's connections given away.
func (e *epoch) leave(d *departure) {
	e.departure.Store(d)
	e.goAway()
	if d.plain(e.front.key) {
		e.movables.interrupt()
	}
}

// idleDeadline is when a connection ends that is idle from now on.
func (e *epoch) idleDeadline() time.Time { return after(cmp.Or(e.settings.idle, e.settings.read)) }

// after returns the time after a duration, or never.
func after(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// give moves a connection.
func (d *departure) give(key string, conn syscall.Conn) error {
	d.slots <- struct{}{}
	defer func() { <-d.slots }()
	err := d.move(key, conn)
	if err != nil {
		left.kept.Add(1)
	} else {
		left.moved.Add(1)
	}
	return err
}

// movableKey is the key of a context value: the connection, if it is a movable
// one.
type movableKey struct{}

// moves reports whether the connection of a request may be given away after it.
func (d *departure) moves(e *epoch, r *http.Request) bool {
	m, ok := r.Context().Value(movableKey{}).(*movable)
	return ok && m.state.Load() != pinned && d.plain(e.front.key)
}

// movables are the connections of an epoch that can be moved and were neither
// closed nor hijacked.
type movables struct {
	mu   sync.Mutex
	open map[*movable]struct{}
}

func (s *movables) add(m *movable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[*movable]struct{})
	}
	s.open[m] = struct{}{}
}

func (s *movables) remove(m *movable) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, m)
}

// interrupt has those given away that are idle.
func (s *movables) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for m := range s.open {
		m.interrupt()
	}
}

// Connections returns how many connections are open that were not hijacked.
// Safe for concurrent use.
func Connections() int {
	var n int64
	for _, e := range fronts.epochs() {
		n += e.conns.Load()
	}
	return int(n)
}

// Abort closes all connections that were not hijacked, and all listeners. Safe
// for concurrent use.
func Abort() {
	for _, e := range fronts.epochs() {
		left.aborted.Add(e.conns.Load())
		_ = e.server.Close()
		go func() { _ = e.http3().Close() }() // it waits for handlers
	}
}

// PlainKeys returns the keys of the addresses at which the current configuration
// takes connections of HTTP/1 without TLS, sorted; see
// [github.com/caddy-gin/caddy-gin/listeners.SocketInfo.Key]. Safe for concurrent
// use.
func PlainKeys() []string {
	fronts.mu.Lock()
	defer fronts.mu.Unlock()
	var keys []string
	for key, f := range fronts.fronts {
		if m := f.current.Load(); m != nil && m.plain() {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
