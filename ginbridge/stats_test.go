package ginbridge

import (
	"slices"
	"sync"
	"testing"

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
	c.of("/ping", "GET").answered(200)
	if n := testing.AllocsPerRun(1000, func() {
		start := clock()
		s := c.of("/ping", "GET")
		s.duration.Observe((clock() - start).Seconds())
		s.answered(200)
	}); n != 0 {
		t.Errorf("a request costs %v allocations", n)
	}
}

// What a client chooses is no label: neither a path nor a method.
func TestStatsHaveNoLabelOfTheClient(t *testing.T) {
	c := countersOf("stats-labels")
	for _, method := range []string{"GET", "BREW", "get", "", "PURGE", "PROPFIND"} {
		c.of("", method).answered(404)
		c.of("/made/up", method).answered(404)
	}
	c.of("/cache/:key", "PURGE").answered(204)
	c.of("/cache/:key", "GET").answered(200) // cannot be, and is bounded all the same
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
		c.of("/ping", "POST").answered(201)
		c.of("/ping", "POST").answered(503)
	}
	s := countersOf("stats-reloads").of("/ping", "POST")
	if n := testutil.ToFloat64(s.total(201)); n != 3 {
		t.Errorf("%v answers with 201, want 3", n)
	}
	if all, errors := s.requests(); all != 6 || errors != 3 {
		t.Errorf("%d requests and %d errors, want 6 and 3", all, errors)
	}
}

func TestStatsOfManyAtOnce(t *testing.T) {
	c := countersOf("stats-many")
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for i := range 1000 {
				c.of("/ping", "GET").answered(500 - i%10)
			}
		})
	}
	clients.Wait()
	s := c.of("/ping", "GET")
	for code := 491; code <= 500; code++ {
		if n := testutil.ToFloat64(s.total(code)); n != 800 {
			t.Errorf("%v answers with %d, want 800", n, code)
		}
	}
	if all, errors := s.requests(); all != 8000 || errors != 800 {
		t.Errorf("%d requests and %d errors, want 8000 and 800", all, errors)
	}
}

func TestQuantiles(t *testing.T) {
	s := countersOf("stats-quantiles").of("/ping", "GET")
	if q, ok := s.quantiles(.5, .99); ok {
		t.Errorf("without a request: %v", q)
	}
	for range 98 {
		s.duration.Observe(.002)
	}
	s.duration.Observe(.4)
	s.duration.Observe(60)
	q, _ := s.quantiles(.5, .99, 1)
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

// CountForBenchmark returns a function that counts n requests as the bridge
// does, for the benchmarks of ginbridge_test.
func CountForBenchmark(app string) func(n int) {
	counters := countersOf(app)
	var s *routeStats
	return func(n int) {
		for range n {
			start := clock()
			s = counters.again(s, "/ping", "GET")
			s.duration.Observe((clock() - start).Seconds())
			s.answered(200)
		}
	}
}

// BenchmarkStats is what the statistics add to a request: two looks at the
// clock, finding the route, and counting.
func BenchmarkStats(b *testing.B) {
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		count := CountForBenchmark("stats-bench")
		for b.Loop() {
			count(1)
		}
	})
	b.Run("clock", func(b *testing.B) {
		for b.Loop() {
			start := clock()
			_ = clock() - start
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			count := CountForBenchmark("stats-bench")
			for pb.Next() {
				count(1)
			}
		})
	})
}
