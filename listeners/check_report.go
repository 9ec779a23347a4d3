package listeners

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

func reportOn(t Target) TargetReport {
	return TargetReport{Network: t.Network, Target: t.String(), Family: t.Family(), V6Only: t.V6Only}
}

// note adds a note.
func (t *TargetReport) note(text string) {
	if t.Note != "" {
		t.Note += "; "
	}
	t.Note += oneLine(text)
}

// judge makes a report of the error of a probe, or of its success.
func (t *TargetReport) judge(target Target, err error) {
	if t.Diagnosis = Diagnose(target, err); t.Diagnosis == nil {
		t.OK = true
		return
	}
	for _, h := range t.Diagnosis.Holders {
		if sameProgram(h.Pid) {
			t.note(fmt.Sprintf("pid %d runs the same program as this command: if it is the Caddy that you reload, it shares its own sockets with the new configuration, and nothing is in the way", h.Pid))
			return
		}
	}
}

// socketReport checks a socket of IP.
func socketReport(t Target, options Options, share bool) TargetReport {
	r := reportOn(t)
	switch own, same := sockets.have(t); {
	case same:
		r.OK = true
		r.note("this process has it open, and its configurations share it")
		return r
	case own != "":
		r.OK = true
		r.note("this process has " + own + " open, which its next configuration may replace")
		return r
	}
	var others []Holder
	if share {
		others = Holders(t)
	}
	if len(others) > 0 && t.Network == "udp" && !discreet(t, options) {
		// binding is all it takes to get, and lose, their packets
		r.OK = true
		r.note("not tried, so as not to disturb " + others[0].String())
		return r
	}
	r.judge(t, probe(t, options, share))
	if r.OK && len(others) > 0 {
		r.note(others[0].String() + " is there too, and would get a part of what arrives, as both share (SO_REUSEPORT)")
	}
	if r.OK && t.Addr.Port() == 0 {
		r.note("the system chooses the port")
	}
	return r
}

// unresolvedReport reports a host that has no address, or no family to have one
// in.
func unresolvedReport(req request, err error) TargetReport {
	r := TargetReport{Network: "tcp", Target: net.JoinHostPort(req.address.Host, fmt.Sprint(req.port))}
	target := Target{Network: "tcp", Addr: netip.AddrPortFrom(netip.Addr{}, req.port)}
	known := errors.As(err, new(*Diagnosis))
	d := Diagnose(target, err)
	r.Diagnosis = d
	if known {
		r.Target, r.Family, r.V6Only = d.Target.String(), d.Target.Family(), d.Target.V6Only
		return r
	}
	// its text says more: what there is instead
	d.Reason = oneLine(strings.TrimPrefix(err.Error(), req.address.At(req.port)+": "))
	if retry, ok := req.address.Options["retry"]; ok && temporary(err) {
		r.note("at start it is tried again for " + retry.Text)
	}
	return r
}

// systemdReport reports a socket that systemd has passed, or should have.
func systemdReport(req request, targets []Target, err error) TargetReport {
	if err == nil {
		r := reportOn(targets[0])
		r.OK = true
		r.note("passed by systemd")
		return r
	}
	name := Systemd + "/" + req.address.Host
	d := &Diagnosis{Target: Target{Network: Systemd, Path: name}, Err: err, Reason: strings.TrimPrefix(err.Error(), name+": ")}
	r := TargetReport{Network: Systemd, Target: name, Diagnosis: d}
	if os.Getenv("LISTEN_FDS") == "" {
		d.Remedy = fmt.Sprintf("start Caddy by its socket unit (`systemctl list-sockets` shows it); to try it by hand: `systemd-socket-activate -l %d --fdname=%s caddy run`",
			req.port, shellQuote(req.address.Host))
		r.note("systemd passes sockets to the service only, so a check from a shell never sees them")
	}
	return r
}

// packetTarget returns the UDP socket that HTTP/3 needs beside TCP sockets.
func packetTarget(targets []Target) Target {
	t := targets[0]
	if len(targets) > 1 {
		t, _ = spanning(targets)
	}
	t.Network = "udp"
	return t
}

// packetsOf returns the options that mean something to a UDP socket.
func packetsOf(options Options) Options {
	kept := make(Options)
	for _, name := range packetOptions {
		if v, ok := options[name]; ok {
			kept[name] = v
		}
	}
	return kept
}
