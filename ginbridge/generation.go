package ginbridge

import (
	"context"
	"math"
	"net"
	"net/http"
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

	// gone is what Generation.refs is when the generation is released: so far
	// below zero that no number of late requests lifts it above.
	gone = math.MinInt64 / 2
)

// What a user adds to Generation.refs. Requests are in the lower half, so that
// their number can be told.
const (
	request = 1
	holder  = 1 << 32 // a connection, or whoever called Acquire
)

// requests returns the number of requests in a value of Generation.refs.
func requests(refs int64) int { return int(uint32(refs)) }

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

	refs     atomic.Int64  // requests and holders, or gone
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
	hash      string // of the configuration
	started   bool
	startedAt time.Time
	drainedAt time.Time
	tasks     []task
	releasers []releaser
	shared    map[sharedKey]struct{} // values of Shared
	checks    []check
	mounts    []*Mount
	servers   map[*caddyhttp.Server]struct{} // whose connections are counted
	streams   map[*stream]struct{}
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
		streams:   make(map[*stream]struct{}),
		shared:    make(map[sharedKey]struct{}),
	}
}

// ID returns a number that no other generation of this process has; later
// ones have higher numbers.
func (g *Generation) ID() uint64 { return g.id }

// SetHash says what tells the configuration from others, for [GenerationInfo].
func (g *Generation) SetHash(hash string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hash = hash
}

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
	g.started, g.startedAt = true, time.Now()
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

// Drain announces that the configuration is being replaced or the process
// stops: it closes the channel of Draining and cancels the goroutines of
// App.Go. Streams end within the Options.StreamCloseDelay of their app, if it
// has one. Calls after the first do nothing.
func (g *Generation) Drain() {
	g.drainOnce.Do(func() {
		g.mu.Lock()
		g.drainedAt = time.Now()
		g.stopStreams()
		g.mu.Unlock()
		close(g.draining)
		g.stopTasks()
	})
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
			g.refs.Add(holder)
		case http.StateClosed, http.StateHijacked: // a hijacked one is counted by trackHijack
			g.Release()
		}
	})
}

// Acquire counts a user in: until its Release, the generation keeps what it
// holds. It is false if the generation is released.
func (g *Generation) Acquire() bool { return g.enter(holder) }

// Release counts a user out.
func (g *Generation) Release() { g.leave(holder) }

// enter is Acquire for a request or a holder.
func (g *Generation) enter(user int64) bool {
	if g.refs.Add(user) > 0 {
		return true
	}
	g.refs.Add(-user)
	return false
}

// leave is Release for a request or a holder.
func (g *Generation) leave(user int64) {
	if g.refs.Add(-user) != 0 {
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
