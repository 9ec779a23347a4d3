package testcaddy

import (
	"slices"
	"strings"
)

// upstreamRace are the two sides of a race in Caddy v2.11.9: TLS.Start sets a
// field after it has started goroutines that obtain certificates, whose events
// have TLS.CaddyModule called, which copies the whole value.
var upstreamRace = []string{
	"github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).CaddyModule()",
	"github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).Start()",
}

// fence is the line before and after a report of the race detector.
const fence = "=================="

// raceFilter takes reports of upstreamRace out of what Caddy prints, line by
// line. All else is passed on, reports of other races as well.
type raceFilter struct{ held []string } // of a report, with its first fence

// pass returns the lines that can be passed on now.
func (f *raceFilter) pass(line string) []string {
	isFence := strings.TrimSpace(line) == fence
	if len(f.held) == 0 && !isFence || strings.HasPrefix(line, "{") { // an entry of the log may come in between
		return []string{line}
	}
	f.held = append(f.held, line)
	if isFence && len(f.held) > 1 {
		return f.rest()
	}
	return nil
}

// rest returns what was held back, unless it is a report of upstreamRace.
func (f *raceFilter) rest() []string {
	held := f.held
	f.held = nil
	var sides []string
	for i, line := range held[:max(len(held)-1, 0)] {
		if strings.Contains(line, " at 0x") && strings.Contains(line, " by ") {
			sides = append(sides, strings.TrimSpace(held[i+1]))
		}
	}
	slices.Sort(sides)
	if slices.Equal(sides, upstreamRace) {
		return nil
	}
	return held
}

// HasRace tells whether there is a report of the race detector in what Caddy
// printed, other than one of a race that is known to be Caddy's own.
func HasRace(printed string) bool {
	var f raceFilter
	var left []string
	for line := range strings.Lines(printed) {
		left = append(left, f.pass(line)...)
	}
	left = append(left, f.rest()...)
	return strings.Contains(strings.Join(left, ""), "DATA RACE")
}
