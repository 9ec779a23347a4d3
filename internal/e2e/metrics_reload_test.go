package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// Each configuration has a registry of its own, and the metrics are those of
// the process: a reload neither adds nor loses a series, and no counter goes
// back.
func TestMetricsSurviveReloads(t *testing.T) {
	t.Parallel()
	s, client := metricsStart(t)
	before := metricsGet(t, client, s.HTTP("/metrics"))

	stop := make(chan struct{})
	var load sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(stop)
		load.Wait()
	})
	defer end()
	until := func(f func()) {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
				}
			}
		})
	}
	for range 3 {
		client := testcaddy.Client(t, "http")
		until(func() {
			for _, v := range metricsVisits {
				v.make(t, client, s.HTTP(""))
			}
		})
	}
	last, pages := before, 0
	until(func() {
		now := metricsGet(t, client, s.HTTP("/metrics"))
		for key, was := range last.series {
			if is := now.series[key]; was.kind != "gauge" && is.value < was.value {
				t.Errorf("%s went from %v to %v", key, was.value, is.value)
			}
		}
		last = now
		pages++
	})
	for i := range 50 {
		if err := s.Reload(metricsConfig(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := s.Reload(metricsConfig("x\nfail_build true")); err == nil {
				t.Fatal("a build that fails was loaded")
			}
		}
	}
	end()
	const loaded, refused = "caddy_gin_reload_duration_seconds_count", "caddy_gin_reload_refused_total"
	var after metricsPage
	testcaddy.Eventually(t, "all loads are counted", func() bool { // the last one a moment after its answer
		after = metricsGet(t, client, s.HTTP("/metrics"))
		return after.series[loaded].value >= 51
	})
	if l, r := after.series[loaded].value, after.series[refused].value; l != 51 || r != 5 {
		t.Errorf("%v loads and %v refusals are counted, want 51 and 5", l, r)
	}
	metricsSame(t, before, after)
	if n := after.series["caddy_gin_reload_carried_connections_total"].value; n < 50 {
		t.Errorf("%v connections were carried by 50 reloads", n)
	}
	for _, e := range s.Log() {
		for _, sign := range []string{"duplicate metric", "collected before", "already registered"} {
			if strings.Contains(e.Raw, sign) {
				t.Errorf("the log says: %s", e.Raw)
			}
		}
	}
	t.Logf("%d series, %d pages, %v requests to /ping", len(after.series), pages,
		after.series[`caddy_gin_requests_total{app="hello",code="200",method="GET",route="/ping"}`].value)
}

// A client has paths, methods and host names without end: none of them makes
// a series.
func TestMetricsHaveNoSeriesOfClients(t *testing.T) {
	t.Parallel()
	s, client := metricsStart(t)
	before := metricsGet(t, client, s.HTTP("/metrics"))
	word := func() string { return fmt.Sprintf("%x", rand.Uint32()) }
	paths := []string{"/", "/users/", "/static/", "/%ff%0a", "/no/such/", "/ping/", "/{http.vars}", `/"%7d`}
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "OTHER"}
	for i := range 1000 {
		method := methods[i%len(methods)]
		if i%3 == 0 {
			method = strings.ToUpper(word())
		}
		req, err := http.NewRequest(method, s.HTTP(paths[rand.IntN(len(paths))]+word()+"?"+word()), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = word() + ".example.com"
		req.Header.Set(word(), word())
		if _, err := metricsDo(client, req); err != nil {
			t.Fatal(err)
		}
	}
	after := metricsGet(t, client, s.HTTP("/metrics"))
	metricsSame(t, before, after)
	if n := after.series[`caddy_gin_requests_total{app="hello",code="404",method="OTHER",route=""}`].value; n < 100 {
		t.Errorf("%v requests had methods that do not exist", n)
	}
}

// The page follows the rules that Prometheus has for names, types and help.
func TestMetricsPassPromtool(t *testing.T) {
	t.Parallel()
	promtool := testcaddy.Program(t, "promtool")
	s, client := metricsStart(t)
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(metricsGet(t, client, s.HTTP("/metrics")).text)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	admin, err := s.Admin("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for family := range metricsGet(t, client, s.HTTP("/metrics")).families() {
		if !strings.Contains(string(admin), "# TYPE "+family+" ") {
			t.Errorf("the admin endpoint does not show %s", family)
		}
	}
}
