package ginbridge

import (
	"context"
	"maps"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

const (
	// settle is how long after the start of draining a generation without
	// users is still kept: a connection may be on its way from the accept
	// queue to the count.
	settle = 2 * time.Second

	// settleHTTP3 is the same where requests came over HTTP/3. Nothing tells
	// of its connections, so a request that another handler holds back, before
	// the app sees it, is not counted.
	settleHTTP3 = 15 * time.Second

	// handOver is how long the goroutines of App.Go wait for those of the
	// configurations before theirs to return.
	handOver = 10 * time.Second

	// exitWait bounds the wait for hijacked connections and goroutines when
	// the process exits and Caddy's grace_period is not set.
	exitWait = 10 * time.Second

	// gone is what Generation.refs is when the generation is released: so far
	// below zero that no number of late requests lifts it above.
	gone = math.MinInt64 / 2
)

// Generation is what all Gin apps of one configuration have in common: their
// life. It goes through these states:
//
//	provisioned → live → draining → released
//
// Start makes it live, Drain announces its end, and Retire releases what it
// holds after its last connection, request and goroutine. A
// configuration that fails to load goes from provisioned to released.
//
// A Generation is safe for concurrent use. mu guards the lists; the count of
// users is atomic, so that requests share no lock.
type Generation struct {
	id     uint64
	logger *zap.Logger

	refs     atomic.Int64  // requests and connections, or gone
	http3    atomic.Bool   // requests came over HTTP/3
	unused   chan struct{} // gets a value when refs falls to 0 while draining
	draining chan struct{} // closed by Drain
	released chan struct{} // closed at the end
	hurry    chan struct{} // closed by Retire when the process exits: do not settle
	force    chan struct{} // closed by Retire when the wait at exit is over

	taskCtx   context.Context // cancelled by Drain
	stopTasks context.CancelFunc
	tasksDone chan struct{} // closed when the goroutines of App.Go have returned

	drainOnce, retireOnce, hurryOnce, forceOnce sync.Once

	mu        sync.Mutex
	started   bool
	drainedAt time.Time
	tasks     []task
	releasers []releaser
	mounts    []*Mount
	servers   map[*caddyhttp.Server]struct{} // whose connections are counted
	hijacks   map[*hijack]struct{}
}

type task struct {
	run    func(context.Context)
	logger *zap.Logger
}

type releaser struct {
	release func() error
	logger  *zap.Logger
}

// generations lists those that are live or draining, in the order of their
// start. Guarded by generationsMu.
var (
	generationsMu  sync.Mutex
	generations    []*Generation
	lastGeneration atomic.Uint64
)

// NewGeneration returns the generation of a configuration that is being
// provisioned. It must be ended by Retire.
func NewGeneration(logger *zap.Logger) *Generation {
	ctx, cancel := context.WithCancel(context.Background())
	return &Generation{
		id:        lastGeneration.Add(1),
		logger:    logger,
		unused:    make(chan struct{}, 1),
		draining:  make(chan struct{}),
		released:  make(chan struct{}),
		hurry:     make(chan struct{}),
		force:     make(chan struct{}),
		taskCtx:   ctx,
		stopTasks: cancel,
		tasksDone: make(chan struct{}),
		servers:   make(map[*caddyhttp.Server]struct{}),
		hijacks:   make(map[*hijack]struct{}),
	}
}

// ID returns a number that no other generation of this process has; later
// ones have higher numbers.
func (g *Generation) ID() uint64 { return g.id }

// Draining returns a channel that is closed when Drain is called.
func (g *Generation) Draining() <-chan struct{} { return g.draining }

// Mounts returns the apps that are mounted under the given name.
func (g *Generation) Mounts(name string) []*Mount {
	g.mu.Lock()
	defer g.mu.Unlock()
	var found []*Mount
	for _, m := range g.mounts {
		if m.app.name == name {
			found = append(found, m)
		}
	}
	return found
}

// Start is called when all apps of the configuration run. The goroutines of
// App.Go start once live says that this configuration is the current one:
// Caddy can still give it up until then.
func (g *Generation) Start(live func() bool) {
	g.mu.Lock()
	tasks := g.tasks
	g.started = true
	g.mu.Unlock()

	generationsMu.Lock()
	before := slices.Clone(generations)
	generations = append(generations, g)
	generationsMu.Unlock()

	if len(tasks) == 0 {
		close(g.tasksDone)
		return
	}
	go g.runTasks(tasks, before, live)
}

// runTasks owns the goroutines of App.Go.
func (g *Generation) runTasks(tasks []task, before []*Generation, live func() bool) {
	defer close(g.tasksDone)
	// Caddy has no event for "has become the current configuration"; it
	// follows "started" within microseconds, or never.
	for wait := 50 * time.Microsecond; !live(); wait = min(2*wait, 10*time.Millisecond) {
		select {
		case <-g.taskCtx.Done():
			return
		case <-time.After(wait):
		}
	}
	deadline := time.NewTimer(handOver)
	defer deadline.Stop()
	for _, older := range before {
		select {
		case <-older.tasksDone:
		case <-g.taskCtx.Done():
			return
		case <-deadline.C:
			g.logger.Warn("starting background goroutines beside those of an older configuration, which have not returned",
				zap.Uint64("generation", g.id), zap.Uint64("older_generation", older.id))
			deadline.Reset(0)
		}
	}
	var running sync.WaitGroup
	for _, t := range tasks {
		running.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					t.logger.Error("background goroutine panicked",
						zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
				}
			}()
			t.run(g.taskCtx)
		})
	}
	running.Wait()
}

// Drain announces that the configuration is being replaced or the process
// stops: it closes the channel of Draining and cancels the goroutines of
// App.Go. Calls after the first do nothing.
func (g *Generation) Drain() {
	g.drainOnce.Do(func() {
		g.mu.Lock()
		g.drainedAt = time.Now()
		g.mu.Unlock()
		close(g.draining)
		g.stopTasks()
	})
}

// Retire releases the generation after its last user. It returns at once
// unless the process exits: then it waits until this generation and all older
// ones are released, for grace at most (ten seconds if grace is 0); after
// that, hijacked connections are closed and everything is released.
func (g *Generation) Retire(exiting bool, grace time.Duration) {
	g.Drain()
	g.retireOnce.Do(func() {
		g.mu.Lock()
		started := g.started
		g.started = true
		g.mu.Unlock()
		if !started {
			close(g.tasksDone) // never ran
			if g.refs.CompareAndSwap(0, gone) {
				g.release()
				return
			}
			generationsMu.Lock()
			generations = append(generations, g)
			generationsMu.Unlock()
		}
		go g.end()
	})
	if exiting {
		awaitAll(grace)
	}
}

// awaitAll waits until every generation is released, for grace at most and
// a moment for releasing by force.
func awaitAll(grace time.Duration) {
	if grace <= 0 {
		grace = exitWait
	}
	generationsMu.Lock()
	all := slices.Clone(generations)
	generationsMu.Unlock()
	for _, g := range all {
		g.hurryOnce.Do(func() { close(g.hurry) })
	}
	patience, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if released(patience, all) {
		return
	}
	for _, g := range all {
		g.forceOnce.Do(func() { close(g.force) })
	}
	moment, cancel := context.WithTimeout(context.Background(), settle)
	defer cancel()
	released(moment, all)
}

// released waits until all are released; it is false if ctx ends first.
func released(ctx context.Context, all []*Generation) bool {
	for _, g := range all {
		select {
		case <-g.released:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// end waits for the last user and releases the generation.
func (g *Generation) end() {
	wait := settle
	if g.http3.Load() {
		wait = settleHTTP3
	}
	g.mu.Lock()
	settled := time.NewTimer(time.Until(g.drainedAt.Add(wait)))
	g.mu.Unlock()
	defer settled.Stop()
	select {
	case <-settled.C:
	case <-g.hurry:
	}
	for !g.refs.CompareAndSwap(0, gone) {
		select {
		case <-g.unused:
		case <-g.force:
			g.abandon()
			g.release()
			return
		}
	}
	select {
	case <-g.tasksDone:
	case <-g.force:
		g.logger.Warn("releasing a configuration whose background goroutines have not returned",
			zap.Uint64("generation", g.id))
	}
	g.release()
}

// abandon gives up on the users that are left when the process exits.
func (g *Generation) abandon() {
	users := g.refs.Add(gone) - gone
	g.mu.Lock()
	hijacks := slices.Collect(maps.Keys(g.hijacks))
	g.mu.Unlock()
	for _, h := range hijacks {
		_ = h.conn.Close()
		h.end()
	}
	g.logger.Warn("exiting before the last requests have ended; their connections are closed",
		zap.Uint64("generation", g.id), zap.Int64("users", users), zap.Int("hijacked", len(hijacks)))
}

func (g *Generation) release() {
	g.mu.Lock()
	releasers := g.releasers
	g.releasers, g.tasks, g.mounts = nil, nil, nil
	g.mu.Unlock()
	for _, r := range slices.Backward(releasers) {
		r.run()
	}
	generationsMu.Lock()
	generations = slices.DeleteFunc(generations, func(other *Generation) bool { return other == g })
	generationsMu.Unlock()
	close(g.released)
}

func (r releaser) run() {
	defer func() {
		if p := recover(); p != nil {
			r.logger.Error("releasing a resource panicked", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
		}
	}()
	if err := r.release(); err != nil {
		r.logger.Error("releasing a resource", zap.Error(err))
	}
}

func (g *Generation) addTask(t task) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.started {
		t.logger.Error("App.Go called after the configuration started; use it in the build function only")
		return
	}
	g.tasks = append(g.tasks, t)
}

func (g *Generation) addReleaser(r releaser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.releasers = append(g.releasers, r)
}

// watch counts the connections of a server as users: a request can be held
// back by other handlers for long before the app sees it, while its
// configuration is being replaced. It is called while provisioning.
func (g *Generation) watch(server *caddyhttp.Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, watched := g.servers[server]; watched {
		return
	}
	g.servers[server] = struct{}{}
	server.RegisterConnState(func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			g.refs.Add(1)
		case http.StateClosed, http.StateHijacked: // a hijacked one is counted by trackHijack
			g.done()
		}
	})
}

// acquire counts a user in. It is false if the generation is released.
func (g *Generation) acquire() bool {
	if g.refs.Add(1) > 0 {
		return true
	}
	g.refs.Add(-1)
	return false
}

// done counts a user out.
func (g *Generation) done() {
	if g.refs.Add(-1) != 0 {
		return
	}
	select {
	case <-g.draining:
		select {
		case g.unused <- struct{}{}:
		default: // one is enough
		}
	default:
	}
}
