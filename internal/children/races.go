package children

import (
	"slices"
	"strings"
)

// A race in Caddy v2.11.9: TLS.Start, and keepStorageClean at its end, set fields
// after goroutines have been started that obtain certificates, whose events
// have TLS.CaddyModule called, which copies the whole value.
const upstreamReader = "github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).CaddyModule()"

var upstreamWriters = []string{
	"github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).Start()",
	"github.com/caddyserver/caddy/v2/modules/caddytls.(*TLS).keepStorageClean()",
}

// isUpstream tells whether the sides of a race are those of Caddy's own.
func isUpstream(sides []string) bool {
	reader := slices.Index(sides, upstreamReader)
	return len(sides) == 2 && reader >= 0 && slices.Contains(upstreamWriters, sides[1-reader])
}

// fence is the line before and after a report of the race detector.
const fence = "=================="

// raceWarning begins the report after its fence.
const raceWarning = "WARNING: DATA RACE"

// RaceFilter takes reports of that race out of what Caddy prints, line by
// line. All else is passed on, reports of other races as well. Its zero value is
// ready for the first line.
type RaceFilter struct{ held []string } // of a report, with its first fence

// Pass returns the lines that can be passed on now.
func (f *RaceFilter) Pass(line string) []string {
	isFence := strings.TrimSpace(line) == fence
	if len(f.held) == 0 && !isFence || strings.HasPrefix(line, "{") { // an entry of the log may come in between
		return []string{line}
	}
	f.held = append(f.held, line)
	if isFence && len(f.held) > 1 {
		return f.Rest()
	}
	return nil
}

// Rest returns what was held back, unless it is a report of Caddy's own race.
func (f *RaceFilter) Rest() []string {
	held := f.held
	f.held = nil
	var sides []string
	for i, line := range held[:max(len(held)-1, 0)] {
		if strings.Contains(line, " at 0x") && strings.Contains(line, " by ") {
			sides = append(sides, strings.TrimSpace(held[i+1]))
		}
	}
	if isUpstream(sides) {
		return nil
	}
	return held
}

// Races returns the reports of the race detector in what Caddy printed, and all
// that was printed after the first of them; the race that is known to be Caddy's
// own is left out. It is empty if there is no other.
func Races(printed string) string {
	var f RaceFilter
	var left strings.Builder
	for line := range strings.Lines(printed) {
		left.WriteString(strings.Join(f.Pass(line), ""))
	}
	left.WriteString(strings.Join(f.Rest(), ""))
	_, after, found := strings.Cut(left.String(), raceWarning)
	if !found {
		return ""
	}
	return raceWarning + after
}
