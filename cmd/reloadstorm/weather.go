package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// weather reloads and upgrades a system under load.
type weather struct {
	options
	system   *system
	protocol storm.Protocol
	server   reloader
	site     *site
	number   int       // of the configuration
	last     time.Time // when the last reload or upgrade was over
	took     []time.Duration
	usages   []usage

	phases    []phases // of the upgrades
	greeting  string   // of the last one
	strays    []string // what else new connections got after it
	processes int      // those that were left
}

// settled is the number of reloads after which memory should not grow any more.
const settled = 100

func (w *weather) storm(ctx context.Context) error {
	mixed := w.reloads > 0 && w.upgrades > 0
	if mixed {
		if err := w.measure(ctx); err != nil { // the first process, to compare the last one with
			return err
		}
	}
	if err := w.blow(ctx); err != nil || w.upgrades == 0 {
		return err
	}
	if err := w.settle(ctx); err != nil || !mixed {
		return err
	}
	return w.measure(ctx)
}

// blow makes the reloads and upgrades.
func (w *weather) blow(ctx context.Context) error {
	begun := time.Now()
	for _, upgrade := range w.forecast() {
		if w.limit > 0 && time.Since(begun) > w.limit {
			break
		}
		do := w.reload
		if upgrade {
			do = w.upgrade
		}
		if err := do(ctx); err != nil {
			return err
		}
		w.last = time.Now()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(w.interval):
		}
	}
	return nil
}

// forecast tells what is to happen, one after the other: true is an upgrade.
func (w *weather) forecast() []bool {
	steps := make([]bool, w.reloads+w.upgrades)
	for i := range w.upgrades {
		steps[i] = true
	}
	r := rand.New(rand.NewPCG(w.seed, 0)) //nolint:gosec // an order is no secret
	r.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
	return steps
}

// reload makes one reload.
func (w *weather) reload(ctx context.Context) error {
	before := time.Now()
	w.number++
	if err := w.server.reload(ctx, w.number); err != nil {
		return fmt.Errorf("reload %d: %w", w.number, err)
	}
	w.took = append(w.took, time.Since(before))
	if n := len(w.took); w.upgrades == 0 && (n == settled || n == w.reloads) {
		return w.measure(ctx)
	}
	return nil
}

// measure notes what a Caddy takes with all behaviours at work.
func (w *weather) measure(ctx context.Context) error {
	c, ok := w.server.(*caddyServer)
	if !ok || !w.together {
		return nil
	}
	u, err := c.usage(ctx)
	if err != nil {
		return err
	}
	u.System, u.Protocol, u.Reloads, u.Upgrades = w.system.name, w.protocol, len(w.took), len(w.phases)
	w.usages = append(w.usages, u)
	return nil
}

// median is the median duration of a reload.
func (w *weather) median() time.Duration {
	if len(w.took) == 0 {
		return 0
	}
	slices.Sort(w.took)
	return w.took[len(w.took)/2]
}
