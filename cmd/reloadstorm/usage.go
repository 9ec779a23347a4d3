package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"
)

// usage measures the Caddy once it has got rid of what it can: until fewer
// goroutines are not to be had for a second, as configurations that are over are
// released in the background.
func (c *caddyServer) usage(ctx context.Context) (usage, error) {
	const rounds, enough = 100, 5
	var fewest usage
	for i, same := 0, 0; i < rounds && same < enough; i++ {
		u, err := c.usageNow(ctx)
		if err != nil {
			return u, err
		}
		if i == 0 || u.Goroutines < fewest.Goroutines {
			fewest, same = u, 0
		} else {
			same++
			fewest.Heap, fewest.Live = min(fewest.Heap, u.Heap), min(fewest.Live, u.Live)
			fewest.Descriptors = min(fewest.Descriptors, u.Descriptors)
		}
		select {
		case <-ctx.Done():
			return u, ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
	return fewest, nil
}

func (c *caddyServer) usageNow(ctx context.Context) (u usage, err error) {
	if _, err := c.call(ctx, http.MethodGet, "/debug/pprof/heap?gc=1", nil); err != nil {
		return u, err
	}
	text, err := c.call(ctx, http.MethodGet, "/debug/vars", nil)
	if err != nil {
		return u, err
	}
	var vars struct {
		MemStats struct{ HeapInuse, HeapAlloc uint64 } `json:"memstats"`
	}
	if err := json.Unmarshal(text, &vars); err != nil {
		return u, err
	}
	u.Heap, u.Live = vars.MemStats.HeapInuse, vars.MemStats.HeapAlloc
	text, err = c.call(ctx, http.MethodGet, "/debug/pprof/goroutine?debug=1", nil)
	if err != nil {
		return u, err
	}
	if _, err := fmt.Sscanf(string(text), "goroutine profile: total %d", &u.Goroutines); err != nil {
		return u, fmt.Errorf("reading the goroutine profile: %w", err)
	}
	if entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.pid())); err == nil {
		u.Descriptors = len(entries)
	}
	return u, nil
}

// growth returns an error if a process that upgrades led to takes more than one
// that was there before. Clients that are at work make the figures vary.
func (r *report) growth(system string) error {
	for i, after := range r.Usages {
		if after.System != system || after.Upgrades == 0 || i == 0 {
			continue
		}
		before := r.Usages[i-1]
		if after.Goroutines > before.Goroutines*5/4+20 || after.Descriptors > before.Descriptors*5/4+20 ||
			after.Live > 2*before.Live+16<<20 {
			return fmt.Errorf("%w: %s: %+v after %+v", errLoss, after.Protocol, after, before)
		}
	}
	return nil
}
