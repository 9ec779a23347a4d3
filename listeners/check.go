package listeners

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// Report is what [Check] found out about an address.
type Report struct {
	Address string            `json:"address"`           // as it was asked for
	Targets []TargetReport    `json:"targets,omitempty"` // what would be bound; none if there is an Error
	Options map[string]string `json:"options,omitempty"` // with those of its set
	Note    string            `json:"note,omitempty"`
	Error   string            `json:"error,omitempty"` // what is wrong with the address itself
}

// TargetReport is a part of a [Report]: one socket that would be opened.
type TargetReport struct {
	Network   string     `json:"network"` // tcp, udp, unix or systemd
	Target    string     `json:"target"`  // as `ss` shows it; the host asked for if it has no address
	Family    string     `json:"family,omitempty"`
	V6Only    bool       `json:"v6only,omitempty"`
	OK        bool       `json:"ok"`
	Note      string     `json:"note,omitempty"`
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"` // what is in the way, if it is not OK
}

// OK reports whether all sockets of the address could be opened.
func (r Report) OK() bool {
	for _, t := range r.Targets {
		if !t.OK {
			return false
		}
	}
	return r.Error == ""
}

// MarshalJSON implements [json.Marshaler]: the fields, and `ok`.
func (r Report) MarshalJSON() ([]byte, error) {
	type fields Report
	return json.Marshal(struct {
		fields
		OK bool `json:"ok"`
	}{fields(r), r.OK()})
}

// Check tells what listening on an address would do, without doing it. It reads
// the address as Caddy does, with defaultPort if it has none; resolves it; and
// tries each socket so that nobody can connect to it or loses a connection by
// it, and nothing is made or removed. Besides the networks of this package it
// knows Caddy's own of TCP and UDP, see [Checkable]. sets are what option use
// looks in; nil if there are none.
//
// On Linux the kernel's whole verdict is asked for. On other systems a socket
// is bound for a moment, but does not listen; if they are not known to package
// listeners, it does listen for that moment.
//
// The result is for the process that asks: its user, its capabilities, its
// network namespace. What the process has open itself counts as free, as
// another configuration of it would share it. Check may be called at any time
// by any number of goroutines. It asks name servers until ctx is done.
func Check(ctx context.Context, address string, defaultPort uint, sets Sets) Report {
	return check(ctx, address, defaultPort, sets, false)
}

// CheckHTTP3 is [Check] for a site with HTTPS, which needs UDP sockets too.
func CheckHTTP3(ctx context.Context, address string, defaultPort uint, sets Sets) Report {
	return check(ctx, address, defaultPort, sets, true)
}

// Checkable reports whether [Check] knows a network. An empty name is Caddy's
// default, tcp.
func Checkable(network string) bool { return Ours(network) || isStock(network) || network == "" }

func check(ctx context.Context, address string, defaultPort uint, sets Sets, http3 bool) (r Report) {
	r.Address = address
	na, err := caddy.ParseNetworkAddressWithDefaults(address, "tcp", defaultPort)
	switch {
	case err != nil:
		r.Error = oneLine(err.Error())
		if strings.Contains(address[strings.LastIndex(address, ":")+1:], "?") {
			r.Error += "; options stand before the port, as in ipv4/eth0?backlog=64:443"
		}
		return r
	case na.EndPort > 65535:
		r.Error = fmt.Sprintf("port %d: not a port from 0 to 65535", na.EndPort)
		return r
	}
	c := checker{ctx: ctx, http3: http3}
	switch {
	case Ours(na.Network):
		err = c.ours(&r, na, sets)
	case isStock(na.Network):
		c.stock(&r, na)
	default:
		err = fmt.Errorf("network %s is not one of ours: gin knows %s, and checks tcp and udp too; for a Unix socket that can be checked use unixsock/PATH",
			na.Network, strings.Join(Networks, ", "))
	}
	if err != nil {
		r.Targets, r.Options, r.Error = nil, nil, oneLine(err.Error())
		return r
	}
	if other, err := caddy.ParseNetworkAddressWithDefaults(address, "tcp", defaultPort+1); err == nil && other != na {
		r.Note = fmt.Sprintf("no port is given, so it is checked at %d", defaultPort)
	}
	return r
}

// checker checks one address.
type checker struct {
	ctx   context.Context
	http3 bool
}

// ours checks an address of this package. The error is one of the address.
func (c checker) ours(r *Report, na caddy.NetworkAddress, sets Sets) error {
	address, err := Parse(na.Network, na.Host)
	if err != nil {
		return err
	}
	if use, ok := address.Options["use"]; ok && sets == nil {
		return fmt.Errorf("%s: option use=%s: there is no global option gin with a listener of that name; sets of options stand in a configuration",
			address, use.Text)
	}
	if address, err = address.WithSet(sets); err != nil {
		return err
	}
	if address.Network == UnixSock {
		if err := address.absolute(); err != nil {
			return err
		}
	}
	r.Options = address.withMode().Map()
	for port := na.StartPort; port <= na.EndPort; port++ {
		req := request{address: address, port: uint16(port), log: zap.NewNop()}
		r.Targets = append(r.Targets, c.request(req)...)
	}
	return nil
}

// request checks what one request of a configuration would open.
func (c checker) request(req request) []TargetReport {
	targets, err := req.targets(c.ctx)
	options := req.address.withMode()
	switch {
	case req.address.Network == Systemd:
		return []TargetReport{systemdReport(req, targets, err)}
	case err != nil:
		return []TargetReport{unresolvedReport(req, err)}
	case req.address.Network == UnixSock:
		return []TargetReport{c.path(targets[0], options)}
	}
	reports := c.sockets(targets, options, false)
	if fallback, ok := options["fallback"]; ok && inUseOf(reports) != nil {
		reports = c.fallBack(reports, targets, options, fallback)
	}
	if retry, ok := options["retry"]; ok {
		for i, t := range reports {
			if !t.OK && temporary(t.Diagnosis) {
				reports[i].note("at start it is tried again for " + retry.Text)
			}
		}
	}
	if c.http3 {
		reports = append(reports, c.sockets([]Target{packetTarget(targets)}, packetsOf(options), false)...)
	}
	return reports
}

// sockets checks sockets of IP.
func (c checker) sockets(targets []Target, options Options, share bool) []TargetReport {
	reports := make([]TargetReport, len(targets))
	for i, t := range targets {
		reports[i] = socketReport(t, options, share || options.on("share"))
	}
	return reports
}

// fallBack looks for the port that option fallback would take.
func (c checker) fallBack(taken []TargetReport, targets []Target, options Options, fallback Value) []TargetReport {
	for port := fallback.N; port <= fallback.To && c.ctx.Err() == nil; port++ {
		moved := make([]Target, len(targets))
		var err error
		for i, t := range targets {
			moved[i] = t.withPort(uint16(port))
			if own, _ := sockets.have(moved[i]); own == "" && err == nil {
				err = probe(moved[i], options, options.on("share"))
			}
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		reports := c.sockets(moved, options, false)
		reports[0].note(fmt.Sprintf("port %d is taken (%s), and fallback=%s chooses this one",
			targets[0].Addr.Port(), inUseOf(taken).Reason, fallback.Text))
		return reports
	}
	taken[0].note("all ports of fallback=" + fallback.Text + " are taken too")
	return taken
}

// inUseOf returns the diagnosis of the first address in use, or nil.
func inUseOf(reports []TargetReport) *Diagnosis {
	for _, t := range reports {
		if t.Diagnosis != nil && errors.Is(t.Diagnosis, syscall.EADDRINUSE) {
			return t.Diagnosis
		}
	}
	return nil
}

// have describes the socket of this process that a new configuration would
// share for a target, or would stand beside; "" if there is none.
func (p *pool) have(t Target) (address string, same bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sockets[t]; s != nil && !s.lost() {
		return t.String(), true
	}
	for u := range p.sockets {
		if u.overlaps(t) {
			return u.String(), false
		}
	}
	for c := range p.packets {
		if c.target == t || c.target.overlaps(t) {
			return c.target.String(), c.target == t
		}
	}
	return "", false
}

// MarkTwice marks addresses of one configuration that stand for the same
// socket, which it must not ask for twice. The first of them stays as it is.
func MarkTwice(reports []Report) {
	first := make(map[Target]string)
	for i := range reports {
		na, err := caddy.ParseNetworkAddress(reports[i].Address)
		if err != nil || !Ours(na.Network) {
			continue
		}
		for j := range reports[i].Targets {
			t := &reports[i].Targets[j]
			if t.Network != "tcp" && t.Network != "unix" || strings.HasSuffix(t.Target, ":0") {
				continue
			}
			key := Target{Network: t.Network, Path: t.Target, V6Only: t.V6Only}
			if before, twice := first[key]; twice {
				t.OK = false
				t.Diagnosis = &Diagnosis{Target: key, Err: errTwice, Reason: "the address " + before + " of this configuration is here already",
					Remedy: "write both addresses alike, options included"}
				continue
			}
			first[key] = reports[i].Address
		}
	}
}
