package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// metricsServer is a running Prometheus.
type metricsServer struct {
	t   testing.TB
	url string
}

// metricsPrometheus starts a Prometheus that scrapes an address and evaluates
// rules each second, until the end of the test.
func metricsPrometheus(t testing.TB, address, rules string, flags ...string) *metricsServer {
	t.Helper()
	program, dir := testcaddy.Program(t, "prometheus"), t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: caddy
    static_configs: [{targets: [%q]}]
`, address)
	metricsWrite(t, filepath.Join(dir, "prometheus.yml"), config)
	metricsWrite(t, filepath.Join(dir, "rules.yml"), rules)
	cmd := exec.Command(program, append(flags, "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", "127.0.0.1:0")...)
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens, log := make(chan string, 1), ""
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		listening := regexp.MustCompile(`msg="Listening on".* address=(\S+)`)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			log += lines.Text() + "\n"
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				select {
				case listens <- "http://" + m[1]:
				default: // a further address
				}
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-exited
			t.Errorf("prometheus did not stop")
		}
		if t.Failed() {
			t.Logf("log of prometheus:\n%s", log)
		}
	})
	select {
	case address := <-listens:
		testcaddy.Eventually(t, "prometheus is ready", func() bool {
			status, _, _ := lifeTry(http.DefaultClient, address+"/-/ready")
			return status == http.StatusOK
		})
		return &metricsServer{t, address}
	case <-exited:
		t.Fatalf("prometheus did not start:\n%s", log)
	case <-time.After(time.Minute):
		t.Fatal("prometheus does not listen")
	}
	return nil
}

// get reads what the API has at a path.
func (p *metricsServer) get(path string, query url.Values, data any) error {
	resp, err := http.Get(p.url + "/api/v1/" + path + "?" + query.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer := struct {
		Error string
		Data  any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return nil
}

// metricsSample is a result of a query: of a number or of a native histogram.
type metricsSample struct {
	Metric    map[string]string
	Value     []any // time and text
	Histogram []any
}

// query returns the samples of an expression that have a value.
func (p *metricsServer) query(expr string) []metricsSample {
	p.t.Helper()
	var data struct{ Result []metricsSample }
	if err := p.get("query", url.Values{"query": {expr}}, &data); err != nil {
		p.t.Fatalf("%s: %v", expr, err)
	}
	return slices.DeleteFunc(data.Result, func(s metricsSample) bool {
		return len(s.Value) == 2 && s.Value[1] == "NaN"
	})
}

// await waits until an expression has data.
func (p *metricsServer) await(expr string) {
	p.t.Helper()
	testcaddy.Eventually(p.t, "data of "+expr, func() bool { return len(p.query(expr)) > 0 })
}

// metricsAlert is an alert that is pending or fires.
type metricsAlert struct {
	Labels, Annotations map[string]string
	State               string
}

// awaitAlert waits until an alert fires.
func (p *metricsServer) awaitAlert(name string) (found metricsAlert) {
	p.t.Helper()
	testcaddy.Eventually(p.t, "alert "+name, func() bool {
		var data struct{ Alerts []metricsAlert }
		if err := p.get("alerts", nil, &data); err != nil {
			p.t.Fatal(err)
		}
		i := slices.IndexFunc(data.Alerts, func(a metricsAlert) bool {
			return a.Labels["alertname"] == name && a.State == "firing"
		})
		if i >= 0 {
			found = data.Alerts[i]
		}
		return i >= 0
	})
	return found
}

// metricsRule is an alert rule as Prometheus has read it.
type metricsRule struct {
	Name, Query, Health, LastError string
}

// rules waits until all rules have been evaluated.
func (p *metricsServer) rules() (rules []metricsRule) {
	p.t.Helper()
	testcaddy.Eventually(p.t, "the rules are evaluated", func() bool {
		var data struct {
			Groups []struct{ Rules []metricsRule }
		}
		if err := p.get("rules", nil, &data); err != nil {
			p.t.Fatal(err)
		}
		rules = nil
		for _, g := range data.Groups {
			rules = append(rules, g.Rules...)
		}
		return len(rules) > 0 && !slices.ContainsFunc(rules, func(r metricsRule) bool { return r.Health == "unknown" })
	})
	return rules
}
