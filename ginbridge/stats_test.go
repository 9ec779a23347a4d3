package ginbridge

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func countersOf(name string) routeCounters {
	return newRouteCounters(name, gin.RoutesInfo{
		{Method: "GET", Path: "/ping"}, {Method: "POST", Path: "/ping"}, {Method: "PURGE", Path: "/cache/:key"},
	})
}

func TestStatsAllocateNothing(t *testing.T) {
	c := countersOf("stats-allocs")
	c.of("/ping", "GET").observe(200, false, time.Millisecond)
	if n := testing.AllocsPerRun(1000, func() {
		start := time.Now()
		c.of("/ping", "GET").observe(200, false, time.Since(start))
	}); n != 0 {
		t.Errorf("a request costs %v allocations", n)
	}
}

// What a client chooses is no label: neither a path nor a method.
func TestStatsHaveNoLabelOfTheClient(t *testing.T) {
	c := countersOf("stats-labels")
	for _, method := range []string{"GET", "BREW", "get", "", "PURGE", "PROPFIND"} {
		c.of("", method).observe(404, false, 0)
		c.of("/made/up", method).observe(404, false, 0)
	}
	c.of("/cache/:key", "PURGE").observe(204, false, 0)
	c.of("/cache/:key", "GET").observe(200, false, 0) // cannot be, and is bounded all the same
	stats.Lock()
	defer stats.Unlock()
	var got []routeKey
	for k := range stats.m {
		if k.app == "stats-labels" {
			got = append(got, k)
		}
	}
	slices.SortFunc(got, func(a, b routeKey) int {
		return slices.Compare([]string{a.route, a.method}, []string{b.route, b.method})
	})
	want := []routeKey{
		{"stats-labels", "", "GET"}, {"stats-labels", "", otherMethod}, {"stats-labels", "/cache/:key", "PURGE"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Configurations come and go; a counter goes on.
func TestStatsSurviveConfigurations(t *testing.T) {
	for range 3 {
		c := countersOf("stats-reloads")
		c.of("/ping", "POST").observe(201, false, 0)
		c.of("/ping", "POST").observe(503, true, 0)
	}
	s := countersOf("stats-reloads").of("/ping", "POST")
	if n := testutil.ToFloat64(s.total(201)); n != 3 {
		t.Errorf("%v answers with 201, want 3", n)
	}
	if n := s.errors.Load(); n != 3 {
		t.Errorf("%d errors, want 3", n)
	}
}

func TestStatsOfManyAtOnce(t *testing.T) {
	c := countersOf("stats-many")
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for i := range 1000 {
				c.of("/ping", "GET").observe(200+i%10, i%10 == 0, time.Microsecond)
			}
		})
	}
	clients.Wait()
	s := c.of("/ping", "GET")
	for code := 200; code < 210; code++ {
		if n := testutil.ToFloat64(s.total(code)); n != 800 {
			t.Errorf("%v answers with %d, want 800", n, code)
		}
	}
	if n, _ := s.quantiles(); n != 8000 || s.errors.Load() != 800 {
		t.Errorf("%d requests and %d errors, want 8000 and 800", n, s.errors.Load())
	}
}

func TestQuantiles(t *testing.T) {
	s := countersOf("stats-quantiles").of("/ping", "GET")
	if n, q := s.quantiles(.5, .99); n != 0 || !math.IsNaN(q[0]) || !math.IsNaN(q[1]) {
		t.Errorf("without a request: %d, %v", n, q)
	}
	for range 98 {
		s.observe(200, false, 2*time.Millisecond)
	}
	s.observe(200, false, 400*time.Millisecond)
	s.observe(200, false, time.Minute)
	_, q := s.quantiles(.5, .99, 1)
	if q[0] < .001 || q[0] > .0025 || q[1] != .5 || q[2] != 10 {
		t.Errorf("got %v", q)
	}
}

func TestCollectorsMayBeRegisteredInEachConfiguration(t *testing.T) {
	for range 2 {
		registry := prometheus.NewPedanticRegistry()
		for _, c := range Collectors() {
			if err := registry.Register(c); err != nil {
				t.Fatal(err)
			}
		}
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Error(problems, err)
		}
	}
}

// BenchmarkStats is what the statistics add to a request: two looks at the
// clock, finding the route, and counting.
func BenchmarkStats(b *testing.B) {
	c := countersOf("stats-bench")
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			start := time.Now()
			c.of("/ping", "GET").observe(200, false, time.Since(start))
		}
	})
	b.Run("clock", func(b *testing.B) {
		for b.Loop() {
			_ = time.Since(time.Now())
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				start := time.Now()
				c.of("/ping", "GET").observe(200, false, time.Since(start))
			}
		})
	})
}
