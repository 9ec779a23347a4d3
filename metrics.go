package caddygin

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-gin/caddy-gin/ginbridge"
	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/seamless"
)

// The metrics of the process that this package counts itself. They survive
// configurations; Caddy has a registry for each.
var (
	reloadDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "caddy_gin_reload_duration_seconds",
		Help:    "Time from the provisioning of a configuration with Gin apps until its apps run, the first configuration included.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	})
	reloadRefused = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "caddy_gin_reload_refused_total",
		Help: "Configurations with Gin apps that failed to load, so that the one before went on.",
	})
)

// registerMetrics registers all metrics. One that is registered already is no
// error.
func registerMetrics(registry prometheus.Registerer) error {
	for _, c := range append(ginbridge.Collectors(), reloadDuration, reloadRefused, socketMetrics{}) {
		if err := registry.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return err
		}
	}
	return nil
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_gin_"+name, help, labels, nil)
}

var (
	carriedDesc = desc("reload_carried_connections_total",
		"Connections that were open when another configuration took over and stayed so, thanks to the listener wrapper seamless.")
	acceptedDesc = desc("listener_accepted_total", "Connections that were accepted.", "network", "address")
	openDesc     = desc("listener_open_connections", "Connections that were accepted and are not closed.", "network", "address")
	pausedDesc   = desc("listener_paused_total", "How often accepting stopped because of maxconn.", "network", "address")
	depthDesc    = desc("listener_queue_depth", "Connections that wait in the accept queue.", "network", "address")
	limitDesc    = desc("listener_queue_limit", "How many connections may wait in the accept queue.", "network", "address")
	overflowDesc = desc("listen_overflows_total", "Connections that the host lost because an accept queue was full (ListenOverflows), in all programs of the network namespace.")
	dropDesc     = desc("listen_drops_total", "Connections that the host lost when they were to be queued (ListenDrops), likewise.")
)

// socketMetrics collects what the sockets know, when somebody asks.
type socketMetrics struct{}

// Describe implements [prometheus.Collector].
func (socketMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{carriedDesc, acceptedDesc, openDesc, pausedDesc, depthDesc, limitDesc, overflowDesc, dropDesc} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (socketMetrics) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	counter(carriedDesc, seamless.Carried())
	if o, ok := listeners.Overflows(); ok {
		counter(overflowDesc, o.Overflows)
		counter(dropDesc, o.Drops)
	}
	seen := make(map[[2]string]bool)
	for _, s := range listeners.Sockets() {
		labels := [2]string{s.Network, s.Bound}
		if s.Transport == "udp" || s.Retiring || seen[labels] {
			continue
		}
		seen[labels] = true
		if c := s.Connections; c != nil {
			counter(acceptedDesc, c.Accepted, labels[:]...)
			gauge(openDesc, c.Open, labels[:]...)
			counter(pausedDesc, c.Paused, labels[:]...)
		}
		if q := s.Queue; q != nil {
			gauge(depthDesc, int64(q.Depth), labels[:]...)
			gauge(limitDesc, int64(q.Limit), labels[:]...)
		}
	}
}
