package listeners

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Options are what an address says about its socket, by the option's name.
// They are not changed once made.
type Options map[string]Value

// Value is the value of an option.
type Value struct {
	Text string // canonical, as it may be written again; "on" and "off" for switches
	N    int64  // the number it stands for: bytes, nanoseconds, 0 or 1 for a switch
	To   int64  // the end of a range
}

// modeOption carries the mode of a Unix socket's file among the options.
const modeOption = "|mode"

// OptionError is an option that the platform or the kernel refused.
type OptionError struct {
	Name, Value string
	Err         error
}

// Error names the option.
func (e *OptionError) Error() string {
	if e.Value == "" || e.Value == "on" {
		return fmt.Sprintf("option %s: %v", e.Name, e.Err)
	}
	return fmt.Sprintf("option %s=%s: %v", e.Name, e.Value, e.Err)
}

// Unwrap returns the cause.
func (e *OptionError) Unwrap() error { return e.Err }

// ParseOptions reads options as they follow the question mark of an address of
// a network. With an empty network it takes those of all networks.
func ParseOptions(network, query string) (Options, error) {
	if query == "" {
		return nil, nil
	}
	options := make(Options)
	for part := range strings.SplitSeq(query, "&") {
		name, value, given := strings.Cut(part, "=")
		if given && value == "" {
			return nil, fmt.Errorf("option %s: a value is missing after the equals sign", name)
		}
		if err := options.Add(network, name, value); err != nil {
			return nil, err
		}
	}
	return options, nil
}

// Add reads one option and adds it. The value is empty if there is none.
func (o Options) Add(network, name, value string) error {
	spec, ok := specs[name]
	if !ok || !spec.on(network) {
		return fmt.Errorf("unknown option %q: allowed are %s", name, strings.Join(OptionNames(network), ", "))
	}
	if _, twice := o[name]; twice {
		return fmt.Errorf("option %s is given twice", name)
	}
	if value == "" {
		value = spec.bare
	}
	v, err := spec.parse(value)
	if err != nil {
		if value == "" {
			return fmt.Errorf("option %s: a value is missing: %w", name, err)
		}
		return fmt.Errorf("option %s=%s: %w", name, value, err)
	}
	if err := supported(name); err != nil && v.Text != "off" {
		return &OptionError{Name: name, Value: v.Text, Err: err}
	}
	o[name] = v
	return nil
}

// OptionNames returns the names of the options of a network, sorted; those of
// sets, for all networks, if it is empty.
func OptionNames(network string) []string {
	var names []string
	for name, spec := range specs {
		if spec.on(network) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// String returns the options as they are written in an address, sorted.
func (o Options) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if name == modeOption {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(name)
		if spec := specs[name]; spec.bare == "" || spec.bare != o[name].Text {
			b.WriteString("=" + o[name].Text)
		}
	}
	return b.String()
}

// Map returns the options' values as texts, as the log and the admin API show
// them.
func (o Options) Map() map[string]string {
	m := make(map[string]string, len(o))
	for name, v := range o {
		m[strings.TrimPrefix(name, "|")] = v.Text
	}
	return m
}

// on reports whether a switch is on.
func (o Options) on(name string) bool { return o[name].Text == "on" }

// number returns the number of an option, or 0.
func (o Options) number(name string) int64 { return o[name].N }

// over returns a set with the options laid over it.
func (o Options) over(set Options) Options {
	all := maps.Clone(set)
	if all == nil {
		all = make(Options)
	}
	maps.Copy(all, o)
	delete(all, "use")
	return all
}

// changed returns the names of the options that differ, sorted.
func (o Options) changed(before Options) []string {
	names := make(map[string]struct{})
	for name, v := range o {
		if before[name] != v {
			names[name] = struct{}{}
		}
	}
	for name := range before {
		if _, ok := o[name]; !ok {
			names[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
