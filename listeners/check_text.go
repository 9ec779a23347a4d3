package listeners

import (
	"io"
	"maps"
	"slices"
	"strings"
)

// String returns the report as text of several lines: what would be bound, and
// below it what is in the way and what to do.
func (r Report) String() string {
	var b strings.Builder
	line := func(indent int, words ...string) {
		b.WriteString(strings.Repeat("  ", indent) + oneLine(strings.Join(words, "")) + "\n")
	}
	switch {
	case r.Error != "":
		line(0, r.Address, ": wrong address")
		line(1, "error: ", r.Error)
	case len(r.Targets) == 0:
		line(0, r.Address)
	case r.OK():
		line(0, r.Address, ": can be bound")
	default:
		line(0, r.Address, ": something is in the way")
	}
	if len(r.Options) > 0 {
		options := make([]string, 0, len(r.Options))
		for _, name := range slices.Sorted(maps.Keys(r.Options)) {
			options = append(options, name+"="+r.Options[name])
		}
		line(1, "options: ", strings.Join(options, ", "))
	}
	if r.Note != "" {
		line(1, "note: ", r.Note)
	}
	for _, t := range r.Targets {
		verdict := "ok      "
		if !t.OK {
			verdict = "blocked "
		}
		line(1, verdict, t.describe())
		if d := t.Diagnosis; d != nil {
			line(3, d.Reason)
			if d.Remedy != "" {
				line(3, "remedy: ", d.Remedy)
			}
		}
		if t.Note != "" {
			line(3, "note: ", t.Note)
		}
	}
	return b.String()
}

// describe names the socket and what arrives at it.
func (t TargetReport) describe() string {
	text := t.Network + " " + t.Target
	switch {
	case t.Family == "" || t.Network == "unix":
	case t.V6Only:
		text += ", IPv6 only"
	case t.Family == "IPv4":
		text += ", IPv4 only"
	default:
		text += ", " + t.Family
	}
	return text
}

// WriteTo implements [io.WriterTo]: it writes the text of [Report.String].
func (r Report) WriteTo(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, r.String())
	return int64(n), err
}
