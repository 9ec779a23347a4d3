package e2e

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// metricsConfig is a server for any host name, with the app hello, the metrics
// at /metrics, and a value that tells configurations apart.
func metricsConfig(value string) testcaddy.Config {
	return testcaddy.Config{
		Exclusive: true,
		Global:    "servers {\nlistener_wrappers {\nseamless\n}\n}",
		Sites: `
(app) {
	gin hello {
		config {
			greeting ` + value + `
		}
	}
}
http://:$HTTP {
	bind ipv4/127.0.0.1 ipv6/::1
	handle /metrics {
		metrics
	}
	handle {
		import app
	}
}
http://localhost {
	bind unixsock/$DIR/app.sock
	import app
}
`,
	}
}

// metricsVisits are requests that together make all series which the tests
// below expect, and the status of their answers.
var metricsVisits = func() []metricsVisit {
	visits := []metricsVisit{
		{"GET", "/", 200}, {"GET", "/ping", 200}, {"GET", "/users/7", 200}, {"GET", "/fail", 503}, {"GET", "/panic", 500},
		{"GET", "/static/hello.txt", 200}, {"GET", "/static/nothing", 404}, {"HEAD", "/static/nothing", 404},
		{"GET", "/events?n=1", 200}, {"POST", "/echo", 200}, {"GET", "/slow?d=1ms", 200},
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
		visits = append(visits, metricsVisit{method, "/nothing", 404})
	}
	return visits
}()

type metricsVisit struct {
	method, path string
	status       int
}

// make makes the request. A failure is no more than reported, as it may happen
// in any goroutine.
func (v metricsVisit) make(t testing.TB, client *http.Client, base string) {
	req, err := http.NewRequest(v.method, base+v.path, nil)
	if err != nil {
		t.Error(err)
		return
	}
	if status, err := metricsDo(client, req); err != nil || status != v.status {
		t.Errorf("%s %s: got %d, %v, want %d", v.method, v.path, status, err, v.status)
	}
}

// metricsDo makes a request, reads the whole answer and returns its status.
func metricsDo(client *http.Client, req *http.Request) (int, error) {
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// metricsStart starts a server that has had all visits.
func metricsStart(t *testing.T) (*testcaddy.Server, *http.Client) {
	t.Helper()
	s := testcaddy.Start(t, metricsConfig("begin"))
	client := testcaddy.Client(t, "http")
	for _, v := range metricsVisits {
		v.make(t, client, s.HTTP(""))
	}
	return s, client
}

// metricsPage is the part of a page of metrics that is the plugin's.
type metricsPage struct {
	text   string
	series map[string]metricsSeries // by name and labels, as the page has them
}

type metricsSeries struct {
	family, kind string // of the TYPE line above it
	value        float64
}

// labels returns the names of the labels of a series, but for le.
func metricsLabels(series string) (names []string) {
	for _, m := range regexp.MustCompile(`[{,](\w+)="`).FindAllStringSubmatch(series, -1) {
		if m[1] != "le" {
			names = append(names, m[1])
		}
	}
	return names
}

// keys returns the series in order.
func (p metricsPage) keys() []string { return slices.Sorted(maps.Keys(p.series)) }

// families returns the kinds of the metrics by their names.
func (p metricsPage) families() map[string]string {
	families := make(map[string]string)
	for _, s := range p.series {
		families[s.family] = s.kind
	}
	return families
}

// metricsGet reads the page of a server.
func metricsGet(t testing.TB, client *http.Client, url string) metricsPage {
	t.Helper()
	page := metricsPage{series: make(map[string]metricsSeries)}
	status, body, err := lifeTry(client, url)
	if err != nil || status != http.StatusOK {
		t.Errorf("%s: got %d %q, %v", url, status, body, err)
		return page
	}
	var of metricsSeries
	for line := range strings.Lines(body) {
		switch {
		case strings.HasPrefix(line, "# HELP caddy_gin_"):
		case strings.HasPrefix(line, "# TYPE caddy_gin_"):
			fields := strings.Fields(line)
			of = metricsSeries{family: fields[2], kind: fields[3]}
		case strings.HasPrefix(line, "caddy_gin_"):
			i := strings.LastIndexByte(line, ' ')
			value, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
			if err != nil {
				t.Errorf("%q: %v", line, err)
			}
			of.value = value
			page.series[line[:i]] = of
		default:
			continue
		}
		page.text += line
	}
	return page
}

// metricsSame fails the test if two pages differ in their series.
func metricsSame(t *testing.T, before, after metricsPage) {
	t.Helper()
	for _, key := range after.keys() {
		if _, had := before.series[key]; !had {
			t.Errorf("%s is new", key)
		}
	}
	for _, key := range before.keys() {
		if _, has := after.series[key]; !has {
			t.Errorf("%s is gone", key)
		}
	}
}

// metricsDashboard is what the tests look at in docs/grafana.json.
type metricsDashboard struct {
	SchemaVersion int
	Title         string
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ UID string }
		GridPos                  struct{ H, W, X, Y int }
		FieldConfig              struct {
			Defaults struct{ Unit string }
		}
		Targets []struct{ RefID, Expr, LegendFormat string }
	}
}

func metricsReadDashboard(t testing.TB) (d metricsDashboard) {
	t.Helper()
	if err := json.Unmarshal(metricsFile(t, "grafana.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// metricsFile returns a file of docs.
func metricsFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func metricsWrite(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
