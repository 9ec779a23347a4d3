package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// metricsBusy is a Caddy with a listener of each kind that has something to
// show for every metric.
type metricsBusy struct {
	*activated
	scrape int      // port of the metrics
	narrow int      // port with maxconn=1 and a short queue
	urls   []string // of the app, on ports of their own
	sites  string
}

func newMetricsBusy(t *testing.T) *metricsBusy {
	ln, port := sdTCP(t)
	b := &metricsBusy{activated: newActivated(t, port, 2), scrape: testcaddy.FreePort(t), narrow: testcaddy.FreePort(t)}
	site := func(port int, bind string) {
		b.sites += fmt.Sprintf("http://:%d {\n\tbind %s\n\timport apps\n}\n", port, bind)
	}
	visited := func(ip, bind string) {
		port := testcaddy.FreePort(t)
		site(port, bind)
		b.urls = append(b.urls, "http://"+net.JoinHostPort(ip, strconv.Itoa(port)))
	}
	site(port, "systemd/web")
	visited("127.0.0.1", "ipv4/127.0.0.1")
	visited("::1", "ipv6/::1")
	visited("127.0.0.1", "dual/localhost")
	site(9, "unixsock/$DIR/app.sock")
	site(b.narrow, "ipv4/127.0.0.1?maxconn=1&backlog=2")
	b.sites += fmt.Sprintf("http://:%d {\n\tbind ipv4/127.0.0.1\n\tmetrics\n}\n", b.scrape)
	b.pass(b.config(""), "web", ln)
	return b
}

func (b *metricsBusy) config(option string) testcaddy.Config {
	return testcaddy.Config{
		Global: "grace_period 1s\nservers {\nlistener_wrappers {\nseamless\n}\n}",
		Sites: `
(apps) {
	handle_path /life/* {
		gin life-main {
			config {
				dir $DIR
				value busy
			}
		}
	}
	handle {
		gin hello {
			config {
				workers 1
				` + option + `
			}
		}
	}
}
` + b.sites,
	}
}

// visit makes requests of all kinds, over and over, until stop is called.
func (b *metricsBusy) visit(t *testing.T) (stop func()) {
	end := make(chan struct{})
	var clients sync.WaitGroup
	stop = sync.OnceFunc(func() {
		close(end)
		clients.Wait()
	})
	t.Cleanup(stop)
	visit := func(client *http.Client, base string) {
		clients.Go(func() {
			for {
				for _, v := range metricsVisits {
					select {
					case <-end:
						return
					default:
						v.make(t, client, base)
					}
				}
				_, _, _ = lifeTry(client, base+"/slow?d=2s")
			}
		})
	}
	for _, base := range append(b.urls, b.HTTP("")) {
		visit(testcaddy.Client(t, "http"), base)
	}
	visit(unixClient(t, filepath.Join(b.Dir, "app.sock")), "http://localhost:9")
	return stop
}

// crowd fills the accept queue of the narrow listener until it overflows.
func (b *metricsBusy) crowd(t *testing.T) {
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(b.narrow))
	seamAt{protocol: "http", network: "tcp", address: address}.mustDial(t).want(t, "/ping", `{"message":"pong"}`)
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		clients.Wait()
	})
	for range 8 {
		clients.Go(func() {
			if conn, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
				<-ctx.Done()
				_ = conn.Close()
			}
		})
	}
}

// Every expression of the dashboard and the rules finds data in a real
// Prometheus, with classic and with native histograms, and the alerts fire
// that can within a test. Those that take their time are in
// TestAlertsFireInTime.
func TestDashboardAndAlertsInPrometheus(t *testing.T) {
	t.Parallel()
	testcaddy.Program(t, "prometheus")
	b := newMetricsBusy(t)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(b.scrape))
	rules := regexp.MustCompile(`(?m)^ +for: \w+\n`).ReplaceAllString(string(metricsFile(t, "alerts.yml")), "")
	rules = strings.Replace(rules, "caddy_gin_oldest_draining_seconds > 3600", "caddy_gin_oldest_draining_seconds > 1", 1)
	servers := map[string]*metricsServer{
		"classic": metricsPrometheus(t, address, rules),
		"native":  metricsPrometheus(t, address, rules, "--enable-feature=native-histograms"),
	}
	for _, p := range servers {
		p.await("up == 1")
	}
	stop := b.visit(t)
	lifeMustEcho(t, lifeDial(t, b.Server, "/life/ws"), "busy") // keeps the first configuration
	if problem := b.load(b.config("greeting two")); problem != "" {
		t.Fatal(problem)
	}
	if problem := b.load(b.config("fail_build true")); !strings.Contains(problem, "fail_build is set") {
		t.Fatalf("the configuration is not refused: %q", problem)
	}
	streamGet(t, testcaddy.Client(t, "http"), b.HTTP("/events?n=0"))
	b.crowd(t)

	for name, p := range servers {
		for _, network := range []string{"ipv4", "ipv6", "dual", "unixsock", "systemd"} {
			p.await(`caddy_gin_listener_accepted_total{network="` + network + `"} > 0`)
		}
		for _, kind := range []string{"hijacked", "event_stream"} {
			p.await(`caddy_gin_streams{kind="` + kind + `"} > 0`)
		}
		metricsWantHistograms(t, p, name == "native")
		metricsWantPanels(t, p)
		metricsWantAlerts(t, p)
	}
	stop()
	seamPost(t, b.Server, "/stop")
	for _, p := range servers {
		p.awaitAlert("CaddyGinAbsent")
	}
}

// metricsWantHistograms makes sure that Prometheus stores the kind of
// histograms that the test is about.
func metricsWantHistograms(t *testing.T, p *metricsServer, native bool) {
	t.Helper()
	const duration = "caddy_gin_request_duration_seconds"
	if got := len(p.query("histogram_count("+duration+")")) > 0; got != native {
		t.Errorf("native histograms: %v, want %v", got, native)
	}
	if got := len(p.query(duration+"_bucket")) > 0; !got && !native {
		t.Error("there are no classic histograms")
	}
}

func metricsWantPanels(t *testing.T, p *metricsServer) {
	t.Helper()
	variables := strings.NewReplacer("$app", "hello|life-main", "$instance", ".+", "$__rate_interval", "5m")
	for _, panel := range metricsReadDashboard(t).Panels {
		for _, target := range panel.Targets {
			expr := variables.Replace(target.Expr)
			p.await(expr)
			legend := regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1)
			for _, sample := range p.query(expr) {
				for _, label := range legend {
					// an empty label is none
					if _, has := sample.Metric[label[1]]; !has && label[1] != "route" {
						t.Errorf("%s: %v has no %s for the legend", panel.Title, sample.Metric, label[1])
					}
				}
			}
		}
	}
}

func metricsWantAlerts(t *testing.T, p *metricsServer) {
	t.Helper()
	later := map[string]bool{"CaddyGinAbsent": true, "CaddyGinAppAbsent": true}
	selector := regexp.MustCompile(`caddy_gin_\w+(\{[^}]*\})?`)
	rules := p.rules()
	if len(rules) != 10 {
		t.Errorf("there are %d rules", len(rules))
	}
	for _, rule := range rules {
		if rule.Health != "ok" || rule.LastError != "" {
			t.Errorf("%s is %s: %s", rule.Name, rule.Health, rule.LastError)
		}
		found := false // the histogram is one of two kinds
		for _, series := range selector.FindAllString(rule.Query, -1) {
			data := len(p.query(series)) > 0
			if !data && !strings.HasPrefix(series, "caddy_gin_request_duration_seconds") {
				t.Errorf("%s: %s has no data", rule.Name, series)
			}
			found = found || data
		}
		if !found {
			t.Errorf("%s: no selector has data", rule.Name)
		}
		if later[rule.Name] {
			continue
		}
		for name, text := range p.awaitAlert(rule.Name).Annotations {
			if strings.Contains(text, "<no value>") || strings.Contains(text, "<error") || strings.Contains(text, "  ") {
				t.Errorf("%s: the %s is %q", rule.Name, name, text)
			}
		}
	}
}
