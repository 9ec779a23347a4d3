package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

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
	*succession
}

// usage is what a Caddy takes after a number of reloads and upgrades.
type usage struct {
	System      string         `json:"system"`
	Protocol    storm.Protocol `json:"protocol"`
	Reloads     int            `json:"reloads"`
	Upgrades    int            `json:"upgrades,omitempty"`
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

var errLoss = errors.New("the plugin failed requests, closed connections, or left something behind")

// run runs all cells and prints the report. Nothing it started is left when it
// returns.
func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	if o.upgrades > 0 {
		dir, err := os.MkdirTemp("", "storm")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if o.versions, err = buildVersions(ctx, dir); err != nil {
			return err
		}
	}
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
	for _, r := range all.Rows {
		if r.System == plugin && r.loss() != "" {
			return fmt.Errorf("%w: %v: %s", errLoss, r.Load, r.loss())
		}
	}
	return all.growth(plugin)
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
		load := storm.Load{Protocol: p, Behaviour: b, Clients: o.clients, Seed: o.seed + uint64(i), Repeats: o.upgrades > 0}
		if b == storm.Idle {
			load.Clients = o.idle
		}
		switch why := s.lacks(o, p, b); {
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
	site, err := newSite(&children.Family{Ctx: ctx, Dir: dir}, o.versions)
	if err != nil {
		cancel()
		return err
	}
	defer func() { err = errors.Join(err, site.endProcesses(), site.races()) }()
	defer site.Wait()
	defer cancel() // ends the children
	server, err := s.start(site)
	if err != nil {
		return err
	}
	for i := range loads {
		loads[i].Address = site.address(p)
	}
	weather := &weather{options: o, system: s, protocol: p, server: server, site: site}
	results, err := storm.Run(ctx, storm.Plan{Loads: loads, Calm: o.calm, Storm: func(ctx context.Context) error {
		return errors.Join(weather.storm(ctx), site.Failed())
	}})
	if err != nil {
		return err
	}
	r.Usages = append(r.Usages, weather.usages...)
	for _, result := range results {
		row := row{System: s.name, Result: result, Reloads: len(weather.took), Reload: weather.median().Seconds()}
		if o.upgrades > 0 {
			row.succession = weather.succession(result)
		}
		r.Rows = append(r.Rows, row)
		if problems := result.Problems(); o.verbose && problems != "" {
			fmt.Fprintf(stderr, "%s, %v: %s\n", s.name, result.Load, problems)
		}
	}
	return nil
}

// lacks tells why a system does not do this here, or "".
func (s *system) lacks(o options, p storm.Protocol, b storm.Behaviour) string {
	if why := s.missing(); why != "" {
		return why
	}
	if o.upgrades > 0 && !s.upgrades {
		return "its program is not upgraded here"
	}
	if p == storm.Curl && children.Program("curl") == "" {
		return "curl is not installed"
	}
	return s.cannot(p, b)
}
