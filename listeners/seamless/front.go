package seamless

import (
	"context"
	"crypto/tls"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// registry holds the fronts of the process by address. Its mutex guards all
// fields of fronts, members and epochs that are not atomic or said to be
// constant.
type registry struct {
	mu      sync.Mutex
	fronts  map[string]*front
	commits uint64
}

var fronts = registry{fronts: make(map[string]*front)}

func init() {
	// for requests over connections to addresses that the last configuration
	// does not have; for the others, Caddy waits by waiting for parked.Accept
	caddy.OnExit(func(context.Context) { fronts.drain() })
}

// front serves the connections of an address across configurations.
type front struct {
	key      string                 // constant
	port     int                    // of TCP, or 0; constant once there is a member
	last     *Wrapper               // of the member that joined last
	current  atomic.Pointer[member] // nil if no configuration has the address
	errorLog *log.Logger            // constant
	members  []*member              // in the order in which they joined
	epochs   []*epoch
	quic     *quicSocket // nil if no configuration has HTTP/3 at the address

	carried      int64  // connections that the last commit carried over
	carriedTotal uint64 // and all of them
}

// member is a configuration's part in a front. Its fields are constant from
// when it is current, but for committed, gone and replaced.
type member struct {
	wrapper *Wrapper
	address address
	ln      net.Listener
	users   users // nil if the configuration has none

	stop    sync.Once
	stopped chan struct{} // closed by parked.Close
	learned chan struct{} // closed when caddy and epoch are known

	front     *front
	epoch     *epoch
	caddy     *http.Server // what Caddy made for the member's server
	tls       *tls.Config  // for HTTP/3; nil without
	altSvc    []string     // the header that announces HTTP/3; nil without
	committed uint64       // when; 0 is not, or not yet
	gone      bool
	replaced  atomic.Bool // its configuration is being stopped while another goes on
}

// users is what a configuration's app named gin implements: it keeps what the
// configuration holds as long as somebody uses it. Acquire is false if that is
// released already.
type users interface {
	Acquire() bool
	Release()
}

// join adds a member. It serves from when it is committed.
func (r *registry) join(m *member) {
	if val, err := m.wrapper.ctx.AppIfConfigured("gin"); err == nil {
		m.users, _ = val.(users)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.front(m.address.key)
	if addr, ok := m.ln.Addr().(*net.TCPAddr); ok {
		f.port = addr.Port
	}
	f.last = m.wrapper
	f.members = append(f.members, m)
	m.front = f
}

// known reports whether a configuration has an address already.
func (r *registry) known(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.fronts[key]
	return f != nil && len(f.members) > 0
}

// front returns the front of an address. The registry's mutex must be held.
func (r *registry) front(key string) *front {
	f := r.fronts[key]
	if f == nil {
		f = &front{key: key}
		f.errorLog = log.New(errorWriter{f}, "", 0)
		r.fronts[key] = f
	}
	return f
}

// learn takes the settings of the http.Server that Caddy made for a member.
func (r *registry) learn(m *member, server *http.Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.gone || m.caddy != nil {
		return
	}
	m.caddy = server
	m.epoch = m.front.epoch(settingsOf(server, m.address, m.wrapper.policies), server)
	close(m.learned)
}

// epoch returns the epoch with the given settings. The registry's mutex must
// be held.
func (f *front) epoch(s settings, server *http.Server) *epoch {
	for _, e := range f.epochs {
		if e.settings == s && !e.closing {
			return e
		}
	}
	e := newEpoch(f, s, server)
	f.epochs = append(f.epochs, e)
	return e
}

// commit makes a member's configuration the newest that works, and begins to
// serve its listener. The member must have been learned.
func (r *registry) commit(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.gone || m.committed > 0 {
		return
	}
	if m.epoch.closing { // in the moment since learn
		m.epoch = m.front.epoch(m.epoch.settings, m.caddy)
	}
	if quic := m.front.quic; quic != nil && m.address.http3 {
		m.tls = m.wrapper.tlsConfig()
		m.altSvc = quic.altSvc
	}
	r.commits++
	m.committed = r.commits
	m.front.carry(m.front.current.Load(), m)
	m.front.elect()
	m.epoch.listeners++
	go func(e *epoch) {
		_ = e.server.Serve(gate{m.ln, m}) // until leave closes the listener
		r.unserved(e)
	}(m.epoch)
}

// elect makes the member that was committed last the current one, if there is
// one that is not replaced. The registry's mutex must be held.
func (f *front) elect() {
	var best *member
	for _, m := range f.members {
		if m.committed > 0 && (best == nil || m.before(best)) {
			best = m
		}
	}
	f.current.Store(best)
}

// before tells whether m is to be current rather than other.
func (m *member) before(other *member) bool {
	if a, b := m.replaced.Load(), other.replaced.Load(); a != b {
		return b
	}
	return m.committed > other.committed
}

// replace is told that a configuration is being stopped, and another goes on.
// Caddy stops its servers in the background: requests over connections to
// addresses that only it has are for that other one from now on, not for what
// is left of the server.
func (r *registry) replace(w *Wrapper) {
	w.mu.Lock()
	members := w.members
	w.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range members {
		m.replaced.Store(true)
		m.front.elect()
	}
}

// leave ends a member's part. Its requests go on.
func (r *registry) leave(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.gone = true
	f := m.front
	f.members = slices.DeleteFunc(f.members, func(other *member) bool { return other == m })
	f.elect()
	_ = m.ln.Close()
	if m.committed == 0 {
		r.tidy(f)
	}
}

// unserved decides what becomes of an epoch's connections when a listener of
// it has been closed.
func (r *registry) unserved(e *epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.listeners--; e.listeners > 0 {
		return
	}
	if caddy.Exiting() {
		return // drain is to come
	}
	if now := e.front.current.Load(); now == nil && r.successor(e, nil) == nil || now != nil && now.wrapper.policies != e.settings.policies {
		e.closing = true
		go r.shutDown(e)
		return
	}
	r.tidy(e.front) // connections go on
}

// drain waits for the requests of addresses that no configuration has any
// more, if the process exits.
func (r *registry) drain() {
	if !caddy.Exiting() {
		return
	}
	r.mu.Lock()
	var epochs []*epoch
	for _, f := range r.fronts {
		if len(f.members) == 0 {
			epochs = append(epochs, f.epochs...)
		}
	}
	r.mu.Unlock()
	var wg sync.WaitGroup
	for _, e := range epochs {
		wg.Go(func() { r.shutDown(e) })
	}
	wg.Wait()
}

// shutDown closes an epoch's idle connections at once and the others after
// their requests, or after the grace period, as Caddy does.
func (r *registry) shutDown(e *epoch) {
	r.mu.Lock()
	w := e.front.last
	r.mu.Unlock()
	grace := w.grace()
	ctx, cancel := within(grace)
	defer cancel()
	var quic sync.WaitGroup
	quic.Go(func() { _ = e.http3().Shutdown(ctx) })
	err := e.server.Shutdown(ctx)
	quic.Wait()
	if err != nil {
		w.log.Warn("closing connections whose requests did not end within the grace period",
			e.front.field(), zap.Duration("grace_period", grace))
		_ = e.server.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.front.remove(e)
	r.tidy(e.front)
}

// within returns a context that ends after a grace period; 0 is none.
func within(grace time.Duration) (context.Context, context.CancelFunc) {
	if grace > 0 {
		return context.WithTimeout(context.Background(), grace)
	}
	return context.WithCancel(context.Background())
}

// ended is called when an epoch may have lost its last connection.
func (r *registry) ended(e *epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tidy(e.front)
}

// tidy forgets the epochs of a front that have ended, and the front with the
// last of them. The mutex must be held.
func (r *registry) tidy(f *front) {
	f.epochs = slices.DeleteFunc(f.epochs, func(e *epoch) bool {
		ended := e.listeners == 0 && e.conns.Load() == 0 && !e.closing &&
			!slices.ContainsFunc(f.members, func(m *member) bool { return m.epoch == e })
		if ended {
			_ = e.inbox.Close()
		}
		return ended
	})
	if len(f.epochs) == 0 && len(f.members) == 0 && f.quic == nil && r.fronts[f.key] == f {
		delete(r.fronts, f.key)
	}
}

// field names the front in the log.
func (f *front) field() zap.Field { return zap.String("address", f.key) }

func (f *front) remove(e *epoch) {
	f.epochs = slices.DeleteFunc(f.epochs, func(other *epoch) bool { return other == e })
}

// errorWriter passes what net/http logs to the log of the current
// configuration's server.
type errorWriter struct{ front *front }

// Write implements [io.Writer].
func (w errorWriter) Write(line []byte) (int, error) {
	if m := w.front.current.Load(); m != nil && m.caddy.ErrorLog != nil {
		m.caddy.ErrorLog.Print(strings.TrimSuffix(string(line), "\n"))
	}
	return len(line), nil
}
