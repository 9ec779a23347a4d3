package main

import (
	"io"
	"slices"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// upgraded runs upgrades, and checks what every system must do.
func upgraded(t *testing.T, args ...string) []measured {
	t.Helper()
	if why := needsLinux(); why != "" {
		t.Skip(why)
	}
	rows := measure(t, args...)
	for _, row := range rows {
		switch {
		case row.Missing != "":
			if row.Protocol != storm.Curl {
				t.Errorf("%s is missing: %s", row.System, row.Missing)
			}
		case row.Requests == 0 || row.Upgrades == 0:
			t.Errorf("%s %s %s: %d requests, %d upgrades", row.System, row.Protocol, row.Behaviour, row.Requests, row.Upgrades)
		case row.Processes != 1:
			t.Errorf("%s %s %s: %d processes were left", row.System, row.Protocol, row.Behaviour, row.Processes)
		}
	}
	return rows
}

// HTTP/3 is not among them: its library ends idle connections in the middle of a
// request now and then, see docs/upgrades.md.
func TestUpgradesFailNothing(t *testing.T) {
	t.Parallel()
	for _, row := range upgraded(t, "-systems", "caddy-gin", "-upgrades", "3", "-behaviours", "all", "-protocols", "http1,tls,http2,curl,unix") {
		if len(row.Failed) > 0 || len(row.Strays) > 0 || row.Missing == "" && row.Upgrades != 3 {
			t.Errorf("the plugin failed: %+v", row)
		}
	}
}

func TestReloadsAndUpgradesAtRandomFailNothing(t *testing.T) {
	t.Parallel()
	upgraded(t, "-systems", "caddy-gin", "-upgrades", "1000", "-reloads", "1000", "-for", "20s",
		"-protocols", "http1", "-behaviours", "all")
}

func TestOtherWaysToUpgradeAreMeasured(t *testing.T) {
	t.Parallel()
	rows := upgraded(t, "-systems", "caddy,gin,gin-fork", "-upgrades", "2", "-protocols", "http1,unix", "-behaviours", "think")
	if len(rows) != 6 {
		t.Errorf("got %d rows, want 6: %+v", len(rows), rows)
	}
}

func TestReloadsAreNotMadeBesideUpgradesUnlessAskedFor(t *testing.T) {
	t.Parallel()
	if why := needsLinux(); why != "" {
		t.Skip(why)
	}
	for _, test := range []struct {
		args              []string
		reloads, upgrades int
	}{
		{[]string{"-upgrades", "3"}, 0, 3},
		{[]string{"-upgrades", "3", "-short"}, 0, 3},
		{[]string{"-upgrades", "3", "-reloads", "2", "-short"}, 2, 3},
		{nil, 100, 0},
	} {
		o, err := parse(test.args, io.Discard)
		w := weather{options: o}
		if err != nil || o.reloads != test.reloads || o.upgrades != test.upgrades {
			t.Errorf("%q: got %d reloads, %d upgrades, %v", test.args, o.reloads, o.upgrades, err)
		}
		steps := w.forecast()
		upgrades := len(slices.DeleteFunc(steps, func(upgrade bool) bool { return !upgrade }))
		if upgrades != test.upgrades {
			t.Errorf("%q: %d upgrades are forecast", test.args, upgrades)
		}
	}
}
