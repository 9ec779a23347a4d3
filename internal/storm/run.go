package storm

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Plan is what [Run] does.
type Plan struct {
	// Loads run all at the same time.
	Loads []Load
	// Calm is how long they run before the storm.
	Calm time.Duration
	// Storm is what happens under load. The clients end after it, each with at
	// least one more request.
	Storm func(context.Context) error
}

// Run runs clients through a calm and a storm, and returns the result of each
// load. It returns an error if the plan makes no sense, the storm failed or ctx
// ended, but not because of failed requests; these are in the results.
func Run(ctx context.Context, plan Plan) ([]*Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{end: make(chan struct{}), ramp: make(chan struct{}, ramp)}
	defer r.cleanUp()
	var results []*Result
	for _, load := range plan.Loads {
		result, err := r.add(load)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	var clients sync.WaitGroup
	for _, start := range r.starts {
		clients.Go(func() { start(ctx) })
	}
	err := r.weather(ctx, plan)
	if err != nil {
		cancel()
	}
	close(r.end)
	clients.Wait()
	return results, err
}

// run is one call of Run.
type run struct {
	starts  []func(context.Context) // a client each
	cleanup []func()
	warm    sync.WaitGroup // clients that have yet to make their first request
	calm    atomic.Bool    // all have
	storm   atomic.Bool
	ramp    chan struct{} // holds a value for each client that makes its first request
	end     chan struct{} // closed when the clients are to end
}

// ramp is how many clients make their first request at once: thousands of
// handshakes in one moment are another test.
const ramp = 32

// weather waits until all clients are at work, and lets calm and storm happen.
func (r *run) weather(ctx context.Context, plan Plan) error {
	warm := make(chan struct{})
	go func() {
		r.warm.Wait()
		close(warm)
	}()
	select {
	case <-warm:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.calm.Store(true)
	sleep(ctx, plan.Calm)
	r.storm.Store(true)
	return errors.Join(plan.Storm(ctx), ctx.Err())
}

func (r *run) storming() bool { return r.storm.Load() }

// ending tells whether the request that begins now is the last one.
func (r *run) ending() bool {
	select {
	case <-r.end:
		return true
	default:
		return false
	}
}

// ready notes that a client is at work. It may be called again.
func (r *run) ready(c *client) {
	if !c.ready {
		c.ready = true
		<-r.ramp
		r.warm.Done()
	}
}

func (r *run) cleanUp() {
	for _, f := range slices.Backward(r.cleanup) {
		f()
	}
}

// add prepares the clients of a load.
func (r *run) add(load Load) (*Result, error) {
	if err := load.check(); err != nil {
		return nil, err
	}
	result := &Result{Load: load}
	dial := load.dial1
	switch load.Protocol {
	case HTTP2:
		d, err := load.dialer2()
		if err != nil {
			return nil, err
		}
		dial = d
	case HTTP3:
		d, closeAll, err := load.dialer3()
		if err != nil {
			return nil, err
		}
		dial = d
		r.cleanup = append(r.cleanup, closeAll)
	}
	var shared *pool
	for i := range load.Clients {
		if i%load.sharing() == 0 {
			shared = &pool{result: result, dial: dial}
			r.cleanup = append(r.cleanup, shared.close)
		}
		c := &client{load: load, run: r, pool: shared, rand: rand.New(rand.NewPCG(load.Seed, uint64(i)))} //nolint:gosec // pauses are no secret
		r.warm.Add(1)
		r.starts = append(r.starts, func(ctx context.Context) { r.client(ctx, c) })
	}
	return result, nil
}

// client lets a client work until the end.
func (r *run) client(ctx context.Context, c *client) {
	r.ramp <- struct{}{}
	defer r.ready(c)
	switch {
	case c.load.Protocol == Curl:
		c.curl(ctx)
		return
	case c.load.Behaviour == WebSocket:
		t := &talker{client: client{load: c.load, run: c.run, pool: c.pool, rand: c.rand}}
		defer t.close()
		r.loop(ctx, c, t.step)
	default:
		r.loop(ctx, c, c.step)
	}
}

func (r *run) loop(ctx context.Context, c *client, step func(context.Context)) {
	for ctx.Err() == nil {
		last := r.ending()
		step(ctx)
		r.ready(c)
		if last || c.load.Behaviour == Events && r.ending() { // a stream goes on until then
			break
		}
	}
}
