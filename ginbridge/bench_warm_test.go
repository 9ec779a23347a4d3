package ginbridge_test

import (
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// warmBatch is how many requests BenchmarkWarm serves between two looks at the
// clock.
const warmBatch = 64

// BenchmarkWarm serves the same prepared requests again and again, by a bare
// engine and through the bridge: what the bridge costs with everything in the
// processor's caches. BenchmarkDifference has the preparation of a request
// between, which drives part of it out.
//
// stats-ns is what the metrics take, as BenchmarkStats has it, and extra-ns
// what the bridge adds to the bare engine beside them.
//
// The sides take turns, and the least of each counts: what is above it is
// other work of the machine, or the garbage collector's. So the figures of two
// runs differ by a few nanoseconds, where their medians do by hundreds.
func BenchmarkWarm(b *testing.B) {
	for _, path := range []string{"/ping", "/json", "/users/42/orders/7"} {
		b.Run(path[1:], func(b *testing.B) {
			var sites [2]*benchSite
			sites[0], sites[1] = benchSites(b, "plain")
			var batches [2][]warmCall
			for side, s := range sites {
				for range warmBatch {
					batches[side] = append(batches[side], warm(s.prepare(b, "GET "+path+" HTTP/1.1\r\n"+benchCurl)))
				}
			}
			count := ginbridge.CountForBenchmark("warm")
			spent := [3]time.Duration{math.MaxInt64, math.MaxInt64, math.MaxInt64} // on the quickest batch of bare, bridge and statistics
			for b.Loop() {
				for side, s := range sites {
					for _, call := range batches[side] {
						call.renew()
					}
					start := time.Now()
					for _, call := range batches[side] {
						s.do(b, call.benchCall)
					}
					spent[side] = min(spent[side], time.Since(start))
				}
				start := time.Now()
				count(warmBatch)
				spent[2] = min(spent[2], time.Since(start))
			}
			each := func(batch time.Duration) float64 { return float64(batch) / warmBatch }
			bare, bridge, stats := each(spent[0]), each(spent[1]), each(spent[2])
			b.ReportMetric(0, "ns/op") // of both sides together: means nothing
			b.ReportMetric(bare, "bare-ns")
			b.ReportMetric(bridge, "bridge-ns")
			b.ReportMetric(stats, "stats-ns")
			b.ReportMetric(bridge-stats-bare, "extra-ns")
		})
	}
}

// warmCall is a request that can be served again.
type warmCall struct {
	benchCall
	repl   *caddy.Replacer
	fresh  caddy.Replacer // what repl was at first
	vars   map[string]any
	header http.Header // of the request; as many as it had at first
	names  []string
}

func warm(call benchCall) warmCall {
	w := warmCall{benchCall: call, header: call.r.Header}
	w.repl = call.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	w.fresh = *w.repl
	w.vars = call.r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	for name := range w.header {
		w.names = append(w.names, name)
	}
	return w
}

// renew takes away what the bridge has added to the request.
func (w warmCall) renew() {
	*w.repl = w.fresh
	delete(w.vars, "http.gin")
	for name := range w.header {
		if !slices.Contains(w.names, name) {
			delete(w.header, name)
		}
	}
}
