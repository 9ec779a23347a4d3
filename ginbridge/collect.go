package ginbridge

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Collectors returns the metrics of all Gin apps of the process. They may be
// registered in the registry of every configuration.
func Collectors() []prometheus.Collector {
	return []prometheus.Collector{requestsTotal, requestDuration, panicsTotal, gauges{}}
}

var (
	inFlightDesc = prometheus.NewDesc("caddy_gin_requests_in_flight",
		"Requests whose handlers have not returned.", []string{"app"}, nil)
	streamsDesc = prometheus.NewDesc("caddy_gin_streams",
		"What has no end of its own: hijacked connections (kind hijacked, as WebSockets are), event streams (event_stream) and WebSockets over HTTP/2 (connect).", []string{"app", "kind"}, nil)
	generationsDesc = prometheus.NewDesc("caddy_gin_generations",
		"Configurations that serve requests: live, or draining because they have been replaced.", []string{"state"}, nil)
)

// gauges collects what the generations know, when somebody asks.
type gauges struct{}

// Describe implements [prometheus.Collector].
func (gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- inFlightDesc
	ch <- streamsDesc
	ch <- generationsDesc
}

// Collect implements [prometheus.Collector].
func (gauges) Collect(ch chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	generationsMu.Lock()
	all := slices.Clone(generations)
	generationsMu.Unlock()
	live, draining := 0, 0
	inFlight := make(map[string]int)
	streams := make(map[[2]string]int)
	for _, g := range all {
		g.mu.Lock()
		if g.drainedAt.IsZero() {
			live++
		} else {
			draining++
		}
		for _, m := range g.mounts {
			inFlight[m.app.name] += int(m.inFlight.Load())
			for _, kind := range streamKinds {
				streams[[2]string{m.app.name, kind}] += 0 // so that the series does not come and go
			}
		}
		for s := range g.streams {
			streams[[2]string{s.mount.app.name, s.kind}]++
		}
		g.mu.Unlock()
	}
	send(generationsDesc, live, "live")
	send(generationsDesc, draining, "draining")
	for app, n := range inFlight {
		send(inFlightDesc, n, app)
	}
	for labels, n := range streams {
		send(streamsDesc, n, labels[:]...)
	}
}
