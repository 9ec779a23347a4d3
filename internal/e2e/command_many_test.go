package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy/testapps"
)

// commandWithin is how long 10,000 routes may take. It is generous, for the
// race detector and for machines that do other things.
const commandWithin = 5 * time.Second

// 10,000 routes in 50 apps are told fast.
func TestCommandManyRoutes(t *testing.T) {
	t.Parallel()
	var sites strings.Builder
	sites.WriteString("http://localhost:$HTTP {\n")
	for i := range 50 {
		fmt.Fprintf(&sites, "handle_path /many-%d/* {\ngin many-%d\n}\n", i, i)
	}
	sites.WriteString("}\n")
	s := testcaddy.Start(t, testcaddy.Config{Sites: sites.String(), Env: []string{testapps.ManyEnv + "=1"}})
	for i := range 50 {
		commandGet(t, s, fmt.Sprintf("/many-%d/things/%d/x", i, i))
	}
	measure := func(what string, run func() string) string {
		begun := time.Now()
		out := run()
		took := time.Since(begun)
		t.Logf("%s: %v, %d bytes", what, took.Round(time.Millisecond), len(out))
		if took > commandWithin {
			t.Errorf("%s took %v", what, took)
		}
		return out
	}
	body := measure("GET /gin/routes", func() string {
		body, err := s.Admin("/gin/routes")
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	})
	var routes []struct{ App, Pattern string }
	if err := json.Unmarshal([]byte(body), &routes); err != nil || len(routes) != 10000 {
		t.Fatalf("%d routes, %v", len(routes), err)
	}
	table := measure("caddy gin routes", func() string {
		out, _, _ := commandRun(t, s, "routes")
		return out
	})
	for _, row := range []string{"\nmany-49 GET /things/49/:id 1 0 ", "\nmany-49 GET /things/48/:id 0 0 "} {
		if !strings.Contains(commandSqueeze(table), row) {
			t.Errorf("there is no %q", row)
		}
	}
	if n := strings.Count(table, "\n"); n != 10001 {
		t.Errorf("got %d lines", n)
	}
	out := measure("caddy gin routes --app", func() string {
		out, _, _ := commandRun(t, s, "routes", "--app", "many-7")
		return out
	})
	if n := strings.Count(out, "\n"); n != 201 {
		t.Errorf("got %d lines", n)
	}
}

// commandSeries returns the names and labels of the plugin's metrics.
func commandSeries(t *testing.T, s *testcaddy.Server) (series []string) {
	t.Helper()
	page, err := s.Admin("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if i := strings.LastIndexByte(line, ' '); strings.HasPrefix(line, "caddy_gin_") {
			series = append(series, line[:i])
		}
	}
	return series
}

// What clients ask for adds nothing to the metrics.
func TestRandomPathsAddNoSeries(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\ngin hello\n}"})
	client := testcaddy.Client(t, "http")
	ask := func(method, path string) {
		req, err := http.NewRequest(method, s.HTTP(path), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Fatalf("%s %s: got %s", method, path, resp.Status)
		}
	}
	ask("GET", "/no-such-path")
	ask("MADE-UP", "/no-such-path")
	before := commandSeries(t, s)
	if !slices.ContainsFunc(before, func(line string) bool { return strings.Contains(line, `route=""`) }) {
		t.Fatalf("unmatched requests are not counted: %q", before)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		method := "GET"
		if i%20 == 0 {
			method = fmt.Sprintf("METHOD%d", i)
		}
		ask(method, fmt.Sprintf("/%x/%x?%x=1", random.Uint64(), random.Uint32(), random.Uint32()))
	}
	if after := commandSeries(t, s); !slices.Equal(before, after) {
		t.Errorf("%d series before, %d after", len(before), len(after))
	}
}
