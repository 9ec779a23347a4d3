package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/seamless"
	"github.com/caddy-gin/caddy-gin/listeners/steer"
)

// hold keeps new connections to Caddy's own listeners here, while the
// successor opens the same ones.
func (u *upgrade) hold() error {
	ours := make(map[string]bool)
	for _, s := range listeners.Sockets() {
		ours[s.Bound] = true
	}
	var err error
	u.groups, err = steer.Own(func(addr net.Addr) bool { return !ours[addr.String()] })
	if err != nil {
		return fmt.Errorf("finding the listeners that are not handed over: %w", err)
	}
	for _, g := range u.groups {
		if err := g.Keep(); err != nil {
			return fmt.Errorf("keeping connections to %s: %w", g.Addr(), err)
		}
	}
	if err := seamless.KeepPackets(); err != nil {
		return fmt.Errorf("keeping HTTP/3 connections: %w", err)
	}
	if err := u.holdPackets(); err != nil {
		return fmt.Errorf("keeping HTTP/3 connections: %w", err)
	}
	return u.admin.prepare()
}

// holdPackets keeps the HTTP/3 of Caddy itself here until this process ends: the
// successor has sockets of its own, but cannot know these connections. They are
// the UDP sockets on ports on which the process listens for TCP too.
func (u *upgrade) holdPackets() error {
	ports := make(map[string]bool)
	for _, g := range u.groups {
		ports[port(g.Addr().String())] = true
	}
	for _, s := range listeners.Sockets() {
		ports[port(s.Bound)] = true
	}
	others := append(seamless.PacketAddrs(), listeners.LentPackets()...)
	var err error
	u.held, err = steer.Hold(func(addr net.Addr) bool {
		return ports[port(addr.String())] && !slices.Contains(others, addr.String())
	})
	for _, h := range u.held {
		u.result.Warnings = append(u.result.Warnings, fmt.Sprintf("HTTP/3 on udp/%s stays with the old process until that has ended, when its connections are closed; `seamless { h3 }` hands it over", h.Addr()))
	}
	return err
}

// port returns the port of an address, or "".
func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// prove starts the successor and has it serve until it has proven itself.
func (u *upgrade) prove() error {
	if err := u.start(); err != nil {
		return err
	}
	deadline := time.Now().Add(u.Timeout)
	if _, err := u.child.await(loaded, time.Until(deadline)); err != nil {
		return err
	}
	u.say(Event{Step: StepLoaded})
	u.front = u.adminGroup()
	if u.front != nil {
		if err := u.front.Give(); err != nil {
			return fmt.Errorf("giving the admin endpoint away: %w", err)
		}
	}
	if err := u.child.send(load, u.admin.body()); err != nil {
		return u.child.ended()
	}
	m, err := u.child.await(ready, max(time.Until(deadline), time.Second))
	if err != nil {
		return err
	}
	var body readyBody
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return err
	}
	u.plain = body.Plain
	u.result.Listeners = len(body.Taken)
	u.say(Event{Step: StepReady})
	if u.active != activeConfig() { // without admin endpoint and Gin apps, nobody could refuse it
		return errors.New("another configuration has been loaded meanwhile")
	}
	if u.DryRun {
		return nil
	}
	if err := u.commit(); err != nil {
		return err
	}
	if err := u.probation(); err != nil {
		return err
	}
	if caddy.Exiting() {
		return errExiting
	}
	u.owned = true
	if err := u.child.send(own, nil); err != nil {
		return u.child.ended()
	}
	if _, err := u.child.await(owns, patience); err != nil {
		return err
	}
	if !unproven.CompareAndSwap(u.child, nil) {
		return errExiting
	}
	u.child.charged.Store(true)
	if err := u.child.send(release, nil); err != nil {
		return u.child.ended()
	}
	_, err = u.child.await(released, patience)
	if err == nil {
		listeners.Bequeath(body.Taken)
	}
	return err
}

// start starts the successor and gives it what it needs.
func (u *upgrade) start() error {
	handover, err := listeners.HandOver()
	if err != nil {
		return err
	}
	defer handover.Close()
	if u.child, err = spawn(u.Binary, u.Drain); err != nil {
		return fmt.Errorf("starting the new binary: %w", explainExec(u.Binary, err))
	}
	unproven.Store(u.child)
	_, version := caddy.Version()
	u.result.Binary, u.result.OldPID, u.result.NewPID = u.Binary, os.Getpid(), u.child.pid()
	u.result.OldVersion, u.result.Shared = version, len(u.groups)
	m, err := u.child.await(hello, min(patience, u.Timeout))
	if err != nil {
		return fmt.Errorf("%w (is it a Caddy with this plugin?)", err)
	}
	var body helloBody
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return err
	}
	if body.Protocol != protocol {
		return fmt.Errorf("the new binary speaks version %d of the protocol for upgrades, and this one %d: restart instead", body.Protocol, protocol)
	}
	u.child.version, u.result.NewVersion = body.Version, body.Version
	successorOf.Store(&Process{PID: u.child.pid(), Role: "successor", Version: body.Version})
	u.say(Event{Step: StepStarted})
	return u.welcome(handover)
}

// welcome sends the successor all that it needs.
func (u *upgrade) welcome(handover *listeners.Handover) error {
	config, err := memfd("configuration", u.config)
	if err != nil {
		return err
	}
	defer func() { _ = config.Close() }()
	files := handover.Files()
	body := welcomeBody{
		Args: self.args, File: self.file, Adapter: self.adapter, Mark: seamless.Mark().Next(), PIDFile: self.pidFile, Version: u.result.OldVersion,
		Files: len(files), Handover: *handover,
	}
	if err := u.child.send(welcome, body, config, os.Stderr); err != nil {
		return u.child.ended()
	}
	for some := range slices.Chunk(files, maxFiles-1) {
		if err := u.child.send(bequest, nil, some...); err != nil {
			return u.child.ended()
		}
	}
	return nil
}

// adminGroup returns the group of the admin endpoint's TCP listener, or nil.
func (u *upgrade) adminGroup() *steer.Group {
	to, ok := u.admin.request.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return nil
	}
	for _, g := range u.groups {
		if at, ok := g.Addr().(*net.TCPAddr); ok && at.Port == to.Port && (at.IP.Equal(to.IP) || at.IP.IsUnspecified()) {
			return g
		}
	}
	return nil
}

// commit has the successor accept, and this process not.
func (u *upgrade) commit() error {
	u.child.committed.Store(true)
	if err := u.child.send(commit, nil); err != nil {
		return u.child.ended()
	}
	listeners.Pause()
	for _, g := range u.groups {
		if g != u.front {
			if err := g.Give(); err != nil {
				return fmt.Errorf("giving %s away: %w", g.Addr(), err)
			}
		}
	}
	if err := seamless.GivePackets(); err != nil {
		return err
	}
	if _, err := u.child.await(serving, patience); err != nil {
		return err
	}
	u.admin.leave()
	u.say(Event{Step: StepServing})
	return nil
}

// probation waits until the successor has served for a while.
func (u *upgrade) probation() error {
	select {
	case in, ok := <-u.child.replies:
		if !ok {
			return u.child.ended()
		}
		return in.refusal(serving)
	case <-time.After(u.Probation):
		return nil
	}
}
