package ginbridge

import (
	"slices"
	"time"

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
	drainingDesc = prometheus.NewDesc("caddy_gin_oldest_draining_seconds",
		"How long the oldest configuration that is draining has been; 0 without one.", nil, nil)
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
	ch <- drainingDesc
}

// Collect implements [prometheus.Collector].
func (gauges) Collect(ch chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	generationsMu.Lock()
	all := slices.Clone(generations)
	generationsMu.Unlock()
	var live, draining float64
	var oldest time.Duration
	inFlight := make(map[string]float64)
	streams := make(map[[2]string]float64)
	for _, g := range all {
		g.mu.Lock()
		if g.drainedAt.IsZero() {
			live++
		} else {
			draining++
			oldest = max(oldest, time.Since(g.drainedAt))
		}
		for _, m := range g.mounts {
			inFlight[m.app.name] += float64(m.inFlight.Load())
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
	send(drainingDesc, oldest.Seconds())
	for app, n := range inFlight {
		send(inFlightDesc, n, app)
	}
	for labels, n := range streams {
		send(streamsDesc, n, labels[:]...)
	}
}
