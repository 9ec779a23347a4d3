package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// Each alert fires after the time that it is to wait, and not for less than
// its threshold. Series have a value per minute, in promtool's notation.
func TestAlertsFireInTime(t *testing.T) {
	t.Parallel()
	promtool := testcaddy.Program(t, "promtool")
	buckets := func(fast, slow int) []string {
		return []string{
			fmt.Sprintf(`caddy_gin_request_duration_seconds_bucket{app="shop",route="/o",le="0.5"} 0+%dx90`, fast),
			fmt.Sprintf(`caddy_gin_request_duration_seconds_bucket{app="shop",route="/o",le="2.5"} 0+%dx90`, fast+slow),
			fmt.Sprintf(`caddy_gin_request_duration_seconds_bucket{app="shop",route="/o",le="+Inf"} 0+%dx90`, fast+slow),
		}
	}
	codes := func(errors int) []string {
		return []string{`caddy_gin_requests_total{app="shop",code="200"} 0+100x90`, fmt.Sprintf(`caddy_gin_requests_total{app="shop",code="503"} 0+%dx90`, errors)}
	}
	live := `caddy_gin_generations{state="live"} `
	tests := []struct {
		alert         string
		series        []string
		quiet, firing string // times, "" for never
	}{
		{"CaddyGinErrors", codes(4), "90m", ""},
		{"CaddyGinErrors", codes(10), "5m", "7m"},
		{"CaddyGinErrors", []string{`caddy_gin_requests_total{app="shop",code="0"} 0+1x90`}, "", "7m"},
		{"CaddyGinSlow", buckets(1000, 5), "90m", ""},
		{"CaddyGinSlow", buckets(100, 5), "10m", "12m"},
		{"CaddyGinPanics", []string{`caddy_gin_panics_total{app="shop",route="/o"} 3x90`}, "10m", ""},
		{"CaddyGinPanics", []string{`caddy_gin_panics_total{app="shop",route="/o"} _x20 1x70`}, "19m", "22m"},
		{"CaddyGinPanics", []string{`caddy_gin_panics_total{app="shop",route="/o"} 1x30 2x60`}, "30m", "32m"},
		{"CaddyGinReloadRefused", []string{`caddy_gin_reload_refused_total 0x20 1x70`}, "20m", "22m"},
		{"CaddyGinReloadRefused", []string{`caddy_gin_reload_refused_total 0x20 1x70`}, "40m", ""},
		{"CaddyGinDraining", []string{`caddy_gin_oldest_draining_seconds 0+60x120`}, "60m", "63m"},
		{"CaddyGinDraining", []string{`caddy_gin_oldest_draining_seconds 0+60x40 0 0+60x40`}, "80m", ""},
		{"CaddyGinQueueNearlyFull", []string{`caddy_gin_listener_queue_depth{address="a"} 79x90`, `caddy_gin_listener_queue_limit{address="a"} 100x90`}, "90m", ""},
		{"CaddyGinQueueNearlyFull", []string{`caddy_gin_listener_queue_depth{address="a"} 0x5 81x90`, `caddy_gin_listener_queue_limit{address="a"} 100x90`}, "6m", "8m"},
		{"CaddyGinQueueOverflows", []string{`caddy_gin_listen_overflows_total 7x30 8x60`}, "30m", "32m"},
		{"CaddyGinMaxconn", []string{`caddy_gin_listener_paused_total{address="a"} 0x20 1x60`}, "90m", ""}, // once
		{"CaddyGinMaxconn", []string{`caddy_gin_listener_paused_total{address="a"} 0+1x90`}, "4m", "8m"},
		{"CaddyGinAbsent", []string{live + "1x20 _x70"}, "20m", "30m"},
		{"CaddyGinAbsent", []string{live + "1x20 0x70"}, "20m", "24m"},
		{"CaddyGinAppAbsent", []string{`caddy_gin_requests_in_flight{app="shop"} 0x70 _x60`, `caddy_gin_requests_in_flight{app="hello"} 0x130`}, "70m", "120m"},
		{"CaddyGinAppAbsent", []string{`caddy_gin_requests_in_flight{app="shop",instance="a"} 0x70 _x60`, `caddy_gin_requests_in_flight{app="shop",instance="b"} 0x130`}, "80m", ""},
	}

	var file strings.Builder
	file.WriteString("rule_files: [alerts.yml]\nevaluation_interval: 1m\ntests:\n")
	for _, test := range tests {
		file.WriteString("  - interval: 1m\n    input_series:\n")
		for _, s := range test.series {
			series, values, _ := strings.Cut(s, " ")
			fmt.Fprintf(&file, "      - {series: '%s', values: '%s'}\n", series, values)
		}
		file.WriteString("    promql_expr_test:\n")
		for when, want := range map[string]string{test.quiet: "[]", test.firing: "[{labels: '{}', value: 1}]"} {
			if when != "" {
				fmt.Fprintf(&file, "      - {expr: 'count(ALERTS{alertname=\"%s\",alertstate=\"firing\"})', eval_time: %s, exp_samples: %s}\n", test.alert, when, want)
			}
		}
	}
	dir := t.TempDir()
	metricsWrite(t, filepath.Join(dir, "alerts.yml"), string(metricsFile(t, "alerts.yml")))
	metricsWrite(t, filepath.Join(dir, "tests.yml"), file.String())
	cmd := exec.Command(promtool, "test", "rules", "tests.yml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}
