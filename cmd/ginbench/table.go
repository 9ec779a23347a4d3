package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// printTable prints what was measured.
func printTable(w io.Writer, systems []*system, o options) error {
	fmt.Fprintf(w, "%d connections, %d rounds of %v, %d processors, %s/%s, %s\n\n", o.connections, o.rounds, o.duration,
		runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH, runtime.Version())
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "system\trequests/s\tplugin is\ttarget\tp50\tp99\terrors\t")
	plugin := systems[ginInCaddy]
	for _, s := range systems {
		if s.address == "" {
			fmt.Fprintf(table, "%s\tnot installed\t\t\t\t\t\t\n", s.name)
			continue
		}
		var ratios []float64
		errors := 0
		for i, r := range s.results {
			ratios = append(ratios, plugin.results[i].perSecond/r.perSecond)
			errors += r.errors
		}
		ratio := median(ratios)
		target := ""
		if s.target > 0 {
			verdict := "met"
			if ratio < s.target {
				verdict = "missed"
			}
			target = fmt.Sprintf("%.2f x %s", s.target, verdict)
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.2f x\t%s\t%s\t%s\t%d\t\n", s.name,
			median(each(s.results, func(r result) float64 { return r.perSecond })), ratio, target,
			micro(median(each(s.results, func(r result) time.Duration { return r.p50 }))),
			micro(median(each(s.results, func(r result) time.Duration { return r.p99 }))), errors)
	}
	return table.Flush()
}

func micro(d time.Duration) string { return d.Round(time.Microsecond).String() }

func each[T any](results []result, f func(result) T) []T {
	values := make([]T, len(results))
	for i, r := range results {
		values[i] = f(r)
	}
	return values
}

// median returns the middle one of values, or the mean of the two in the
// middle.
func median[T ~int64 | ~float64](values []T) T {
	slices.Sort(values)
	n := len(values)
	if n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[n/2]
}
