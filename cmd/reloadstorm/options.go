package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// options are the flags.
type options struct {
	systems    []*system
	protocols  []storm.Protocol
	behaviours []storm.Behaviour
	together   bool // all behaviours at once
	reloads    int
	upgrades   int
	versions   []string      // the programs of the upgrades
	limit      time.Duration // for reloads and upgrades; 0 is none
	interval   time.Duration
	calm       time.Duration
	clients    int
	idle       int
	seed       uint64
	json       bool
	verbose    bool
}

// together is what -behaviours says for all at once.
const together = "all"

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("reloadstorm", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var names []string
	for _, s := range systems() {
		names = append(names, s.name)
	}
	chosen := flags.String("systems", strings.Join(names, ","), "the `systems`")
	protocols := flags.String("protocols", joined(storm.Protocols()), "the `protocols`")
	behaviours := flags.String("behaviours", joined(storm.Behaviours()), "the `behaviours`, one at a time; \"all\" for all at once")
	flags.IntVar(&o.reloads, "reloads", 100, "`number` of reloads of each system, 1 to 100000")
	flags.IntVar(&o.upgrades, "upgrades", 0, "`number` of upgrades of each system's program, up to 99999, in a random order with the reloads; then the default of -reloads is 0")
	flags.DurationVar(&o.limit, "for", 0, "`duration` after which no more reloads and upgrades begin, up to 24h; 0 is no limit")
	flags.DurationVar(&o.interval, "interval", 100*time.Millisecond, "`duration` from the end of a reload to the next, up to 1m")
	flags.DurationVar(&o.calm, "calm", time.Second, "`duration` from the clients' first requests to the first reload, up to 10m")
	flags.IntVar(&o.clients, "clients", 8, "`number` of clients of each behaviour, 1 to 4096")
	flags.IntVar(&o.idle, "idle", 2000, "`number` of clients of the behaviour idle, 1 to 100000; no more than descriptors allow")
	flags.Uint64Var(&o.seed, "seed", 1, "a `number` that the clients' pauses follow from")
	flags.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	flags.BoolVar(&o.verbose, "v", false, "tell what is happening, and the first error of each kind")
	short := flags.Bool("short", false, "20 reloads, 4 clients, 100 of them idle, unless said otherwise")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	given := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.upgrades > 0 && !given["reloads"] {
		o.reloads, given["reloads"] = 0, true
	}
	if *short {
		o.shorten(given)
	}
	if o.systems, err = choose(*chosen, systems(), func(s *system) string { return s.name }); err != nil {
		return o, fmt.Errorf("-systems: %w", err)
	}
	if o.protocols, err = choose(*protocols, storm.Protocols(), func(p storm.Protocol) string { return string(p) }); err != nil {
		return o, fmt.Errorf("-protocols: %w", err)
	}
	if o.together = *behaviours == together; o.together {
		*behaviours = joined(storm.Behaviours())
	}
	if o.behaviours, err = choose(*behaviours, storm.Behaviours(), func(b storm.Behaviour) string { return string(b) }); err != nil {
		return o, fmt.Errorf("-behaviours: %w", err)
	}
	o.idle = min(o.idle, maxDescriptors()/2-200) // those of the clients, and those of a proxy to its backend
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.upgrades < 0 || o.upgrades >= 100_000:
		return o, fmt.Errorf("-upgrades is %d, must be 0 to 99999", o.upgrades)
	case o.upgrades > 0 && needsLinux() != "":
		return o, fmt.Errorf("-upgrades is %d, must be 0: %s", o.upgrades, needsLinux())
	case o.upgrades > 0 && (o.reloads < 0 || o.reloads >= 100_000):
		return o, fmt.Errorf("-reloads is %d, must be 0 to 99999 beside upgrades", o.reloads)
	case o.upgrades == 0 && (o.reloads < 1 || o.reloads > 100_000):
		return o, fmt.Errorf("-reloads is %d, must be 1 to 100000", o.reloads)
	case o.limit < 0 || o.limit > 24*time.Hour:
		return o, fmt.Errorf("-for is %v, must be 0 to 24h", o.limit)
	case o.interval < 0 || o.interval > time.Minute:
		return o, fmt.Errorf("-interval is %v, must be 0 to 1m", o.interval)
	case o.calm < 0 || o.calm > 10*time.Minute:
		return o, fmt.Errorf("-calm is %v, must be 0 to 10m", o.calm)
	case o.clients < 1 || o.clients > 4096:
		return o, fmt.Errorf("-clients is %d, must be 1 to 4096", o.clients)
	case o.idle < 1 || o.idle > 100_000:
		return o, fmt.Errorf("-idle is %d, must be 1 to 100000", o.idle)
	}
	return o, nil
}

// shorten changes what the flags do not say.
func (o *options) shorten(given map[string]bool) {
	for name, value := range map[string]struct {
		of *int
		n  int
	}{"reloads": {&o.reloads, 20}, "clients": {&o.clients, 4}, "idle": {&o.idle, 100}} {
		if !given[name] {
			*value.of = value.n
		}
	}
}

func joined[T ~string](values []T) string {
	var texts []string
	for _, v := range values {
		texts = append(texts, string(v))
	}
	return strings.Join(texts, ",")
}

// choose returns the values whose names are in a list.
func choose[T any](list string, values []T, name func(T) string) ([]T, error) {
	var chosen []T
	for text := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(values, func(v T) bool { return name(v) == text })
		if i < 0 {
			var names []string
			for _, v := range values {
				names = append(names, name(v))
			}
			return nil, fmt.Errorf("unknown name %q; there are %s", text, strings.Join(names, ", "))
		}
		chosen = append(chosen, values[i])
	}
	return chosen, nil
}
