package ginbridge

import (
	"context"
	"runtime/debug"
	"slices"
	"time"

	"go.uber.org/zap"
)

// exitWait bounds the wait for hijacked connections and goroutines when the
// process exits and Caddy's grace_period is not set.
const exitWait = 10 * time.Second

// The log tells of a generation that does not end a minute after it began to
// settle, then after two more, four more and so on, and at last every hour.
const (
	progressAfter = time.Minute
	progressEvery = time.Hour
)

// releaser is a function given to App.OnRelease.
type releaser struct {
	release func() error
	logger  *zap.Logger
}

func (g *Generation) addReleaser(r releaser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.releasers = append(g.releasers, r)
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
	if !exiting {
		return
	}
	if grace <= 0 {
		awaitAll(exitWait)
		return
	}
	// Caddy's servers have had their part of it; what their requests held is
	// to be released even if that was all
	g.mu.Lock()
	left := time.Until(g.drainedAt.Add(grace))
	g.mu.Unlock()
	awaitAll(max(left, settle/4))
}

// awaitAll waits until every generation is released, for a while at most and
// a moment for releasing by force.
func awaitAll(while time.Duration) {
	generationsMu.Lock()
	all := slices.Clone(generations)
	generationsMu.Unlock()
	for _, g := range all {
		g.hurryOnce.Do(func() { close(g.hurry) })
	}
	patience, cancel := context.WithTimeout(context.Background(), while)
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
	kept := false
	select {
	case <-settled.C:
		kept = g.logUse()
	case <-g.hurry:
	}
	wait = progressAfter
	progress := time.NewTimer(wait)
	defer progress.Stop()
	for !g.refs.CompareAndSwap(0, gone) {
		select {
		case <-g.unused:
		case <-progress.C:
			kept = g.logUse() || kept
			wait = min(2*wait, progressEvery)
			progress.Reset(wait)
		case <-g.force:
			g.abandon()
			g.release()
			return
		}
	}
	if kept {
		g.logEnd()
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
	var hijacks []*stream
	for s := range g.streams {
		if s.kind == hijacked {
			hijacks = append(hijacks, s)
		}
	}
	g.mu.Unlock()
	for _, s := range hijacks {
		s.stop()
		s.endHijack()
	}
	g.logger.Warn("exiting before the last requests have ended; their connections are closed",
		zap.Uint64("generation", g.id), zap.Int("requests", requests(users)), zap.Int("hijacked", len(hijacks)))
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
