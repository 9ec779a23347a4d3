package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/children"
	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// row is a line of the table.
type row struct {
	System string `json:"system"`
	*storm.Result
	Missing string  `json:"missing,omitempty"` // why there is no result
	Reloads int     `json:"reloads"`
	Reload  float64 `json:"reload"` // median duration in seconds
}

// usage is what a Caddy takes after a number of reloads.
type usage struct {
	System      string         `json:"system"`
	Protocol    storm.Protocol `json:"protocol"`
	Reloads     int            `json:"reloads"`
	Heap        uint64         `json:"heap_in_use"` // bytes
	Live        uint64         `json:"heap_live"`   // bytes, after a collection
	Goroutines  int            `json:"goroutines"`
	Descriptors int            `json:"descriptors"`
}

// report is the outcome.
type report struct {
	Rows   []row   `json:"rows"`
	Usages []usage `json:"usages,omitempty"`
}

var errLoss = errors.New("the plugin failed requests or closed connections")

// run runs all cells and prints the report. Nothing it started is left when it
// returns.
func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	var all report
	for _, s := range o.systems {
		for _, p := range o.protocols {
			for _, behaviours := range o.cells() {
				if err := all.cell(ctx, o, s, p, behaviours, stderr); err != nil {
					return fmt.Errorf("%s, %s: %w", s.name, p, err)
				}
			}
		}
	}
	if err := all.print(stdout, o); err != nil {
		return err
	}
	plugin := systems()[0].name
	if slices.ContainsFunc(all.Rows, func(r row) bool { return r.System == plugin && r.Problems() != "" }) {
		return errLoss
	}
	return nil
}

// cells returns the behaviours that run at once.
func (o options) cells() (cells [][]storm.Behaviour) {
	if o.together {
		return [][]storm.Behaviour{o.behaviours}
	}
	for _, b := range o.behaviours {
		cells = append(cells, []storm.Behaviour{b})
	}
	return cells
}

// cell runs one system under one load.
func (r *report) cell(ctx context.Context, o options, s *system, p storm.Protocol, behaviours []storm.Behaviour, stderr io.Writer) (err error) {
	var loads []storm.Load
	for i, b := range behaviours {
		load := storm.Load{Protocol: p, Behaviour: b, Clients: o.clients, Seed: o.seed + uint64(i)}
		if b == storm.Idle {
			load.Clients = o.idle
		}
		switch why := s.lacks(p, b); {
		case !p.Speaks(b):
		case why == "":
			loads = append(loads, load)
		default:
			r.Rows = append(r.Rows, row{System: s.name, Result: &storm.Result{Load: load}, Missing: why})
		}
	}
	if len(loads) == 0 {
		return nil
	}
	if o.verbose {
		fmt.Fprintf(stderr, "%s: %v\n", s.name, loads)
	}
	dir, err := os.MkdirTemp("", "storm") // short: sockets lie in it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithCancel(ctx)
	site, err := newSite(&children.Family{Ctx: ctx, Dir: dir})
	if err != nil {
		cancel()
		return err
	}
	defer site.Wait()
	defer cancel() // ends the children
	server, err := s.start(site)
	if err != nil {
		return err
	}
	for i := range loads {
		loads[i].Address = site.address(p)
	}
	weather := &weather{options: o, system: s, protocol: p, server: server}
	results, err := storm.Run(ctx, storm.Plan{Loads: loads, Calm: o.calm, Storm: func(ctx context.Context) error {
		return errors.Join(weather.storm(ctx), site.Failed())
	}})
	if err != nil {
		return err
	}
	r.Usages = append(r.Usages, weather.usages...)
	for _, result := range results {
		r.Rows = append(r.Rows, row{System: s.name, Result: result, Reloads: o.reloads, Reload: weather.reload().Seconds()})
		if problems := result.Problems(); o.verbose && problems != "" {
			fmt.Fprintf(stderr, "%s, %v: %s\n", s.name, result.Load, problems)
		}
	}
	return nil
}

// lacks tells why a system does not do this here, or "".
func (s *system) lacks(p storm.Protocol, b storm.Behaviour) string {
	if why := s.missing(); why != "" {
		return why
	}
	if p == storm.Curl && children.Program("curl") == "" {
		return "curl is not installed"
	}
	return s.cannot(p, b)
}

// weather reloads a system under load.
type weather struct {
	options
	system   *system
	protocol storm.Protocol
	server   reloader
	took     []time.Duration
	usages   []usage
}

// settled is the number of reloads after which memory should not grow any more.
const settled = 100

func (w *weather) storm(ctx context.Context) error {
	for i := range w.reloads {
		before := time.Now()
		if err := w.server.reload(ctx, i+1); err != nil {
			return fmt.Errorf("reload %d: %w", i+1, err)
		}
		w.took = append(w.took, time.Since(before))
		if err := w.measure(ctx, i+1); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(w.interval):
		}
	}
	return nil
}

// measure notes what a Caddy takes once all behaviours have been at work for a
// while, and at the end.
func (w *weather) measure(ctx context.Context, reloads int) error {
	c, ok := w.server.(*caddyServer)
	if !ok || !w.together || reloads != settled && reloads != w.reloads {
		return nil
	}
	u, err := c.usage(ctx)
	if err != nil {
		return err
	}
	u.System, u.Protocol, u.Reloads = w.system.name, w.protocol, reloads
	w.usages = append(w.usages, u)
	return nil
}

// reload is the median duration of a reload.
func (w *weather) reload() time.Duration {
	slices.Sort(w.took)
	return w.took[len(w.took)/2]
}
