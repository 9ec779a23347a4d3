package e2e

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// docs/metrics.md has the metrics of the page, with type and labels, and no
// others; the dashboard shows each.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("some metrics exist on Linux only")
	}
	s, client := metricsStart(t)
	page := metricsGet(t, client, s.HTTP("/metrics"))
	type metric struct {
		kind   string
		labels []string
	}
	is, says := make(map[string]metric), make(map[string]metric)
	for series, of := range page.series {
		labels := metricsLabels(series)
		slices.Sort(labels)
		is[of.family] = metric{of.kind, labels}
	}
	text := string(metricsFile(t, "metrics.md"))
	row, quoted := regexp.MustCompile("(?m)^\\| `(caddy_gin_\\w+)` \\| (\\w+) \\|([^|]*)\\| [A-Z]"), regexp.MustCompile("`(\\w+)`")
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		var labels []string
		for _, label := range quoted.FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, label[1])
		}
		slices.Sort(labels)
		says[m[1]] = metric{m[2], labels}
	}
	dashboard := string(metricsFile(t, "grafana.json"))
	for name, m := range is {
		if said, ok := says[name]; !ok || said.kind != m.kind || !slices.Equal(said.labels, m.labels) {
			t.Errorf("%s is %v, and docs/metrics.md says %v", name, m, said)
		}
		if !strings.Contains(dashboard, name) {
			t.Errorf("the dashboard lacks %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`caddy_gin_\w+`).FindAllString(text, -1) {
		if _, ok := is[name]; !ok {
			t.Errorf("docs/metrics.md names %s, which does not exist", name)
		}
	}
}

// The Caddyfile of docs/metrics.md serves the page on a port of its own.
func TestMetricsOfTheDocsAreServed(t *testing.T) {
	t.Parallel()
	block := fence.FindStringSubmatch(string(metricsFile(t, "metrics.md")))
	if block == nil || block[2] != "caddyfile" {
		t.Fatal("docs/metrics.md has no Caddyfile")
	}
	port := strconv.Itoa(testcaddy.FreePort(t))
	s := testcaddy.Start(t, testcaddy.Config{
		Sites: strings.NewReplacer("8080", "$HTTP", "9180", port).Replace(block[3]),
	})
	client := testcaddy.Client(t, "http")
	lifeGet(t, client, s.HTTP("/ping"))
	page := metricsGet(t, client, "http://127.0.0.1:"+port+"/metrics")
	if page.series[`caddy_gin_requests_total{app="hello",code="200",method="GET",route="/ping"}`].value != 1 {
		t.Errorf("the request is not counted:\n%s", page.text)
	}
}

// What Prometheus reads in docs is free of errors: the rules, and the
// configuration that docs/metrics.md shows.
func TestPromtoolTakesTheDocs(t *testing.T) {
	t.Parallel()
	promtool, dir := testcaddy.Program(t, "promtool"), t.TempDir()
	metricsWrite(t, filepath.Join(dir, "alerts.yml"), string(metricsFile(t, "alerts.yml")))
	for _, block := range fence.FindAllStringSubmatch(string(metricsFile(t, "metrics.md")), -1) {
		if block[2] == "yaml" {
			metricsWrite(t, filepath.Join(dir, "prometheus.yml"), block[3])
		}
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"check", "config", "prometheus.yml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "SUCCESS: 10 rules found") {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// Grafana takes the dashboard: each panel has its place, a title, a
// description, a unit and the data source that is chosen above.
func TestDashboardIsWellFormed(t *testing.T) {
	t.Parallel()
	d := metricsReadDashboard(t)
	variables := make(map[string]string)
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if d.SchemaVersion == 0 || d.Title == "" || variables["datasource"] != "datasource" || variables["app"] != "query" {
		t.Errorf("schema version %d, title %q, variables %v", d.SchemaVersion, d.Title, variables)
	}
	ids := make(map[int]bool)
	places := make(map[[2]int]string)
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%s has the ID %d, as another", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := places[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s is beyond the edge, or over %s", p.Title, other)
				}
				places[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("the panel %q lacks something: %+v", p.Title, p)
		}
		for _, target := range p.Targets {
			for _, m := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				if variables[m[1]] == "" && m[1] != "__rate_interval" {
					t.Errorf("%s: there is no variable %s", p.Title, m[1])
				}
			}
		}
	}
}
