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
	fmt.Fprintf(w, "%d reloads, %v apart, %d clients (idle: %d), %d processors, %s/%s, %s\n\n", o.reloads, o.interval,
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
			short(time.Duration(r.Reload*float64(time.Second))),
			short(r.Calm.Quantile(0.5)), short(r.Calm.Quantile(0.99)), short(r.Storm.Quantile(0.5)), short(r.Storm.Quantile(0.99)))
	}
	if err := table.Flush(); err != nil || len(r.Usages) == 0 {
		return err
	}
	fmt.Fprintln(w)
	fmt.Fprintln(table, "system\tprotocol\treloads\theap in use\tlive\tgoroutines\tdescriptors")
	for _, u := range r.Usages {
		fmt.Fprintf(table, "%s\t%s\t%d\t%.1f MiB\t%.1f MiB\t%d\t%d\n", u.System, u.Protocol, u.Reloads,
			float64(u.Heap)/(1<<20), float64(u.Live)/(1<<20), u.Goroutines, u.Descriptors)
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
