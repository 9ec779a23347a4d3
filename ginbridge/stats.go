package ginbridge

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// durationBuckets are the upper bounds of the histogram, in seconds: from a
// handler that answers from memory to one that waits for others.
var durationBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// The statistics of the process. They survive configurations, so that counters
// never go back.
var (
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_gin_requests_total",
		Help: "Requests that a Gin app has answered. The route is a pattern, empty where none matched; the code is 0 if the connection or the stream was aborted.",
	}, []string{"app", "route", "method", "code"})
	requestDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "caddy_gin_request_duration_seconds",
		Help:    "Time from the call of a Gin app to the return of its handlers, but for event streams, WebSockets and hijacked connections, which last as long as their clients want.",
		Buckets: durationBuckets,
		// also a native histogram, for those who scrape them; without a reset
		// of what has been counted
		NativeHistogramBucketFactor:    1.1,
		NativeHistogramMaxBucketNumber: 100,
	}, []string{"app", "route", "method"})
	panicsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_gin_panics_total",
		Help: "Panics of handlers, but for http.ErrAbortHandler.",
	}, []string{"app", "route"})
)

// routeKey names a route of an app for the statistics. An unmatched request
// has no route, and its method is one of knownMethods or otherMethod.
type routeKey struct{ app, route, method string }

// routeStats counts the requests of a route.
type routeStats struct {
	key      routeKey
	duration prometheus.Histogram
	codes    atomic.Pointer[[]codeCount] // replaced with mu held
	mu       sync.Mutex
}

// aborted stands for the status code of a request that was not answered to its
// end.
const aborted = 0

// codeCount counts the answers with a status code.
type codeCount struct {
	code  int
	total prometheus.Counter
}

// stats holds the statistics of all routes that have had a request. Its mutex
// is taken by the first request of a route in each configuration.
var stats = struct {
	sync.Mutex
	m map[routeKey]*routeStats
}{m: make(map[routeKey]*routeStats)}

// statsOf returns the statistics of a route. They begin with the first call.
func statsOf(k routeKey) *routeStats {
	stats.Lock()
	defer stats.Unlock()
	s := stats.m[k]
	if s == nil {
		s = &routeStats{key: k, duration: requestDuration.WithLabelValues(k.app, k.route, k.method).(prometheus.Histogram)}
		s.codes.Store(new([]codeCount))
		panicsTotal.WithLabelValues(k.app, k.route) // 0, so that the first one is an increase
		stats.m[k] = s
	}
	return s
}

// answered counts a request. It allocates nothing, but for the first answer
// with a code.
func (s *routeStats) answered(code int) {
	for _, c := range *s.codes.Load() {
		if c.code == code {
			c.total.Inc()
			return
		}
	}
	s.total(code).Inc()
}

// total returns the counter of a code, which it makes if there is none.
func (s *routeStats) total(code int) prometheus.Counter {
	s.mu.Lock()
	defer s.mu.Unlock()
	codes := *s.codes.Load()
	for _, c := range codes {
		if c.code == code {
			return c.total
		}
	}
	total := requestsTotal.WithLabelValues(s.key.app, s.key.route, s.key.method, strconv.Itoa(code))
	codes = append(slices.Clip(codes), codeCount{code, total})
	s.codes.Store(&codes)
	return total
}

// requests returns how many requests were counted, and how many of them were
// answered with 5xx or aborted.
func (s *routeStats) requests() (all, errors uint64) {
	for _, c := range *s.codes.Load() {
		var m dto.Metric
		if c.total.Write(&m) != nil {
			continue
		}
		n := uint64(m.GetCounter().GetValue())
		all += n
		if c.code >= http.StatusInternalServerError || c.code == aborted {
			errors += n
		}
	}
	return all, errors
}

// quantiles estimates quantiles of the duration in seconds, as Prometheus'
// histogram_quantile does. There are none if there was no request.
func (s *routeStats) quantiles(qs ...float64) (values []float64, ok bool) {
	var m dto.Metric
	if err := s.duration.Write(&m); err != nil || m.GetHistogram().GetSampleCount() == 0 {
		return nil, false
	}
	for _, q := range qs {
		values = append(values, quantile(q*float64(m.GetHistogram().GetSampleCount()), m.GetHistogram().GetBucket()))
	}
	return values, true
}

// quantile returns the value below which rank observations lie.
func quantile(rank float64, buckets []*dto.Bucket) float64 {
	var below, from float64
	for _, b := range buckets {
		upTo := float64(b.GetCumulativeCount())
		if upTo >= rank && upTo > below {
			return from + (b.GetUpperBound()-from)*(rank-below)/(upTo-below)
		}
		below, from = upTo, b.GetUpperBound()
	}
	return from // more than the last bound
}

// epoch is what clock begins at.
var epoch = time.Now()

// clock returns the time since the program began. It takes half as long as
// time.Now, which also asks for the time of day.
func clock() time.Duration { return time.Since(epoch) }

// knownMethods are those that unmatched requests are counted by: a client may
// make methods up.
var knownMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}

// otherMethod stands for the rest.
const otherMethod = "OTHER"

// routeCounters finds the statistics of an app's routes without a lock. The
// map is constant.
type routeCounters struct {
	app string
	m   map[string][]*routeCounter // by route; "" is that of unmatched requests
}

// routeCounter is a route that may have had a request in this configuration.
type routeCounter struct {
	method string
	stats  atomic.Pointer[routeStats] // nil until then
}

func newRouteCounters(app string, routes gin.RoutesInfo) routeCounters {
	c := routeCounters{app: app, m: make(map[string][]*routeCounter, len(routes)+1)}
	for _, method := range knownMethods {
		c.m[""] = append(c.m[""], &routeCounter{method: method})
	}
	c.m[""] = append(c.m[""], &routeCounter{method: otherMethod})
	for _, r := range routes {
		pattern := fullPath(r)
		c.m[pattern] = append(c.m[pattern], &routeCounter{method: r.Method})
	}
	return c
}

// again is of, where the route may be that of the last time.
func (c routeCounters) again(last *routeStats, route, method string) *routeStats {
	if last != nil && last.key.route == route && last.key.method == method {
		return last
	}
	return c.of(route, method)
}

// of returns the statistics of a route.
func (c routeCounters) of(route, method string) *routeStats {
	counters, known := c.m[route]
	if !known {
		route, counters = "", c.m[""] // of an engine that got more routes while it served
	}
	for _, counter := range counters {
		if counter.method == method || counter.method == otherMethod {
			s := counter.stats.Load()
			if s == nil {
				s = statsOf(routeKey{c.app, route, counter.method})
				counter.stats.Store(s)
			}
			return s
		}
	}
	return c.of("", otherMethod)
}
