package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// print prints all as a table, or as JSON.
func (r *report) print(w io.Writer, o options) error {
	if o.json {
		out := json.NewEncoder(w)
		out.SetIndent("", "\t")
		return out.Encode(r)
	}
	fmt.Fprintf(w, "%d reloads, %d upgrades, %v apart, %d clients (idle: %d), %d processors, %s/%s, %s\n\n", o.reloads, o.upgrades, o.interval,
		o.clients, o.idle, runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, runtime.Version())
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "system\tprotocol\tbehaviour\trequests\tfailed\topened\tclosed by server\treload\tcalm p50\tp99\tstorm p50\tp99")
	for _, r := range r.Rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t", r.System, r.Protocol, r.Behaviour)
		if r.Missing != "" {
			fmt.Fprintln(table, "\t"+r.Missing+strings.Repeat("\t", 7)) // the column of failures is wide
			continue
		}
		fmt.Fprintf(table, "%d\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", r.Requests, failed(r.Result), r.Opened, r.ClosedByServer,
			seconds(r.Reload),
			short(r.Calm.Quantile(0.5)), short(r.Calm.Quantile(0.99)), short(r.Storm.Quantile(0.5)), short(r.Storm.Quantile(0.99)))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if o.upgrades > 0 {
		if err := r.printUpgrades(w, table, o.together); err != nil {
			return err
		}
	}
	if len(r.Usages) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	fmt.Fprintln(table, "system\tprotocol\treloads\tupgrades\theap in use\tlive\tgoroutines\tdescriptors")
	for _, u := range r.Usages {
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%.1f MiB\t%.1f MiB\t%d\t%d\n", u.System, u.Protocol, u.Reloads, u.Upgrades,
			float64(u.Heap)/(1<<20), float64(u.Live)/(1<<20), u.Goroutines, u.Descriptors)
	}
	return table.Flush()
}

// printUpgrades prints what else there is to tell of upgrades: of the clients, and
// of the servers.
func (r *report) printUpgrades(w io.Writer, table *tabwriter.Writer, together bool) error {
	fmt.Fprintln(w)
	fmt.Fprintln(table, "system\tprotocol\tbehaviour\tunreplayable\trepeated\tgoodbyes\tversions\tstray")
	for _, r := range r.Rows {
		if r.Missing == "" {
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\n", r.System, r.Protocol, r.Behaviour,
				r.Unreplayable, r.Repeated, r.Goodbyes, r.Versions, len(r.Strays))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(table, "system\tprotocol\tbehaviour\tupgrades\tready\tmax\tserving\tmax\twhole\tmax\tmoved\taborted\tprocesses")
	var before row
	for _, r := range r.Rows {
		behaviour := string(r.Behaviour)
		if together {
			behaviour = "all"
		}
		if r.Missing != "" || together && before.Result != nil && r.System == before.System && r.Protocol == before.Protocol {
			continue
		}
		before = r
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t", r.System, r.Protocol, behaviour, r.Upgrades)
		for _, s := range []span{r.Ready, r.Serving, r.Whole} {
			fmt.Fprintf(table, "%s\t%s\t", seconds(s.Median), seconds(s.Max))
		}
		fmt.Fprintf(table, "%d\t%d\t%d\n", r.Moved, r.Aborted, r.Processes)
	}
	return table.Flush()
}

// failed returns the number of failures, and how many are of which kind.
func failed(r *storm.Result) string {
	var kinds []string
	for _, kind := range storm.Kinds() {
		if n := r.Failed[kind]; n > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if len(kinds) == 0 {
		return "0"
	}
	return fmt.Sprintf("%d: %s", r.Failures(), strings.Join(kinds, ", "))
}

func seconds(s float64) string { return short(time.Duration(s * float64(time.Second))) }

// short returns a duration with two or three digits that matter.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
