package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// What this plugin is told to wait for. The streams of the app say goodbye when
// they have been draining for a while.
const (
	probation = 100 * time.Millisecond
	drain     = 10 * time.Second
	goodbye   = 300 * time.Millisecond
)

// upgrader is a running system whose program can be replaced.
type upgrader interface {
	reloader
	// upgrade replaces the program and returns when new connections are the
	// successor's. The number of the configuration stays.
	upgrade(ctx context.Context, number int) (phases, error)
}

// phases are the durations of an upgrade, and what the old process did with its
// connections. What a system does not tell is 0.
type phases struct {
	ready   time.Duration // from the beginning until the successor is ready
	serving time.Duration // from there until it serves
	whole   time.Duration // of the command
	moved   int64         // connections
	aborted int64         // because the drain limit was over
}

// span is what is to be known of some durations.
type span struct {
	Median float64 `json:"median"` // seconds
	Max    float64 `json:"max"`
}

func spanOf(all []phases, of func(phases) time.Duration) (s span) {
	var took []time.Duration
	for _, p := range all {
		took = append(took, of(p))
	}
	if len(took) > 0 {
		slices.Sort(took)
		s = span{took[len(took)/2].Seconds(), took[len(took)-1].Seconds()}
	}
	return s
}

// succession is what became of the upgrades of a system.
type succession struct {
	Upgrades int   `json:"upgrades"`
	Ready    span  `json:"ready"`
	Serving  span  `json:"serving"`
	Whole    span  `json:"whole"`
	Moved    int64 `json:"moved"`
	Aborted  int64 `json:"aborted"`
	// Versions counts the greetings of requests that began after the last
	// upgrade.
	Versions int `json:"versions"`
	// Strays are the wrong ones of them on connections that were begun then.
	Strays []string `json:"strays,omitempty"`
	// Processes counts those that were left.
	Processes int `json:"processes"`
}

// succession returns what became of the upgrades, to which result belongs.
func (w *weather) succession(result *storm.Result) *succession {
	s := &succession{
		Upgrades:  len(w.phases),
		Ready:     spanOf(w.phases, func(p phases) time.Duration { return p.ready }),
		Serving:   spanOf(w.phases, func(p phases) time.Duration { return p.serving }),
		Whole:     spanOf(w.phases, func(p phases) time.Duration { return p.whole }),
		Strays:    slices.Clone(w.strays),
		Processes: w.processes,
	}
	for _, p := range w.phases {
		s.Moved += p.moved
		s.Aborted += p.aborted
	}
	versions := map[string]bool{w.greeting: true}
	for greeting, seen := range result.Greeted {
		if seen.Request.After(w.last) {
			versions[greeting] = true
		}
		if seen.Connection.After(w.last) && greeting != w.greeting {
			s.Strays = append(s.Strays, greeting)
		}
	}
	s.Versions = len(versions)
	return s
}

// upgrade makes one upgrade.
func (w *weather) upgrade(ctx context.Context) error {
	server, ok := w.server.(upgrader)
	if !ok {
		return fmt.Errorf("%s has no upgrades", w.system.name)
	}
	if err := w.site.installOther(); err != nil {
		return err
	}
	p, err := server.upgrade(ctx, w.number)
	if err != nil {
		return fmt.Errorf("upgrade %d: %w", len(w.phases)+1, err)
	}
	w.phases = append(w.phases, p)
	return nil
}

// settle waits until one process is left, and asks it by new connections.
func (w *weather) settle(ctx context.Context) error {
	const connections = 20
	w.greeting = w.site.greeting(w.number)
	for range connections {
		if err := w.site.answers(ctx, w.number); err != nil {
			w.strays = append(w.strays, err.Error())
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*drain)
	defer cancel()
	for {
		pids, err := w.site.processes()
		if w.processes = len(pids); err != nil || w.processes == 1 {
			return err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // the number tells
			}
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// loss tells what of an upgraded plugin's row is wrong, or "".
func (r *row) loss() string {
	switch {
	case r.succession == nil:
		return r.Problems()
	case r.Failures() > 0, r.ClosedByServer > 0 && (r.Protocol == storm.HTTP1 || r.Protocol == storm.Unix):
		return r.Problems()
	case r.Aborted > 0:
		return fmt.Sprintf("%d connections were closed because the drain limit was over", r.Aborted)
	case len(r.Strays) > 0:
		return fmt.Sprintf("wrong greetings after the last upgrade: %q", r.Strays)
	case r.Processes != 1:
		return fmt.Sprintf("%d processes were left", r.Processes)
	}
	return ""
}
