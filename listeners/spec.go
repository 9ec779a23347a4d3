package listeners

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"
)

// spec says how an option is written and where it is allowed.
type spec struct {
	networks []string
	bare     string // the value of an option without one; empty if it needs one
	parse    func(string) (Value, error)
	noSet    bool // not for sets of options, which have no network
}

func (s spec) on(network string) bool {
	return network == "" && !s.noSet || slices.Contains(s.networks, network)
}

var (
	anyIP  = []string{IPv4, IPv6, Dual}
	tcp    = []string{IPv4, IPv6, Dual, Systemd}
	file   = []string{UnixSock}
	all    = Networks
	opened = []string{IPv4, IPv6, Dual, UnixSock} // not by somebody else
)

// specs are all options. What an option does to a socket is in sockopt_*.go.
var specs = map[string]spec{
	"backlog":      {networks: all, parse: count(1, 1<<20)},
	"defer_accept": {networks: tcp, parse: span(time.Second, 10*time.Minute, time.Second)},
	"device":       {networks: anyIP, parse: name("the name of an interface", 15)},
	"fallback":     {networks: anyIP, parse: ports},
	"fastopen":     {networks: tcp, bare: "256", parse: count(1, 1<<16)},
	"freebind":     {networks: anyIP, bare: "on", parse: toggle},
	"group":        {networks: file, parse: name("a group", 64)},
	"keepalive":    {networks: tcp, parse: keepalive},
	"mark":         {networks: tcp, parse: count(0, 1<<32-1)},
	"maxconn":      {networks: all, parse: count(1, 1<<31-1)},
	"mkdir":        {networks: file, parse: mode},
	"mptcp":        {networks: anyIP, bare: "on", parse: toggle},
	"rcvbuf":       {networks: tcp, parse: size},
	"retry":        {networks: anyIP, parse: span(100*time.Millisecond, 10*time.Minute, time.Millisecond)},
	"share":        {networks: anyIP, bare: "on", parse: toggle},
	"sndbuf":       {networks: tcp, parse: size},
	"tos":          {networks: tcp, parse: count(0, 255)},
	"transparent":  {networks: anyIP, bare: "on", parse: toggle},
	"use":          {networks: opened, parse: name("the name of a listener of the global option gin", 64), noSet: true},
	"user":         {networks: file, parse: name("a user", 64)},
	"user_timeout": {networks: tcp, parse: span(time.Millisecond, 24*time.Hour, time.Millisecond)},
}

// toggle reads a switch.
func toggle(text string) (Value, error) {
	switch text {
	case "on":
		return Value{Text: text, N: 1}, nil
	case "off":
		return Value{Text: text}, nil
	}
	return Value{}, errors.New("allowed are on and off")
}

// count reads a whole number, decimal or, with 0x, hexadecimal.
func count(least, most int64) func(string) (Value, error) {
	return func(text string) (Value, error) {
		digits, base := text, 10
		if hex, ok := strings.CutPrefix(text, "0x"); ok {
			digits, base = hex, 16
		}
		n, err := strconv.ParseUint(digits, base, 63)
		if err != nil || int64(n) < least || int64(n) > most {
			return Value{}, fmt.Errorf("not a whole number from %d to %d", least, most)
		}
		return Value{Text: strconv.FormatUint(n, 10), N: int64(n)}, nil
	}
}

// size reads a number of bytes, with a unit or without.
func size(text string) (Value, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil || n < 1<<10 || n > 1<<30 {
		return Value{}, errors.New("not a size from 1KiB to 1GiB, such as 256KiB")
	}
	return Value{Text: strconv.FormatUint(n, 10), N: int64(n)}, nil
}

// span reads a duration in whole units.
func span(least, most, unit time.Duration) func(string) (Value, error) {
	return func(text string) (Value, error) {
		d, err := caddy.ParseDuration(text)
		if err != nil || d < least || d > most || d%unit != 0 {
			return Value{}, fmt.Errorf("not a duration from %s to %s in whole %s, such as 10s", brief(least), brief(most), unitNames[unit])
		}
		return Value{Text: brief(d), N: int64(d)}, nil
	}
}

var unitNames = map[time.Duration]string{time.Second: "seconds", time.Millisecond: "milliseconds"}

// brief writes a duration without the zeros at its end.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// keepalive reads a duration, or off.
func keepalive(text string) (Value, error) {
	if text == "off" {
		return Value{Text: text}, nil
	}
	v, err := span(time.Second, 9*time.Hour, time.Second)(text)
	if err != nil {
		err = fmt.Errorf("%w, or off", err)
	}
	return v, err
}

// mode reads the mode of a folder.
func mode(text string) (Value, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o7777 || n&0o300 != 0o300 {
		return Value{}, errors.New("not an octal mode from 0300 to 07777 that lets the owner write and search, such as 0750")
	}
	return Value{Text: fmt.Sprintf("%04o", n), N: int64(n)}, nil
}

// ports reads a port, or a range of them.
func ports(text string) (Value, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || from == 0 || to < from {
		return Value{}, errors.New("not a port or a range of ports, such as 8081-8090")
	}
	text = strconv.FormatUint(from, 10)
	if to > from {
		text += "-" + strconv.FormatUint(to, 10)
	}
	return Value{Text: text, N: int64(from), To: int64(to)}, nil
}

// name reads a name.
func name(what string, longest int) func(string) (Value, error) {
	return func(text string) (Value, error) {
		if text == "" || len(text) > longest || strings.ContainsFunc(text, notInName) {
			return Value{}, fmt.Errorf("not %s", what)
		}
		return Value{Text: text}, nil
	}
}
