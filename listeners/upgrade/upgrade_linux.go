package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/seamless"
	"github.com/caddy-gin/caddy-gin/listeners/steer"
)

// upgrade is one upgrade, seen from the process that is being replaced. It
// belongs to the goroutine that runs it.
type upgrade struct {
	Options
	hooks  Hooks
	admin  *Admin
	tell   func(Event)
	begun  time.Time
	config []byte
	child  *child
	groups []*steer.Group // of Caddy's own TCP listeners
	front  *steer.Group   // of the admin endpoint, if that has one
	plain  []string
	result Result

	owned  bool            // the successor may have written the PID file
	active context.Context // that of the configuration
}

// activeConfig returns what tells one configuration that was loaded from
// another.
func activeConfig() context.Context { return caddy.ActiveContext().Context }

// running is the upgrade that is under way, or nil. A process that has given up
// keeps it.
var running atomic.Pointer[upgrade]

// errTwice is for a second upgrade.
var errTwice = errors.New("an upgrade is under way already; GET /gin/generations tells how far it is")

// Check returns why an upgrade cannot begin now, or nil.
func Check() error {
	if start.err != nil {
		return fmt.Errorf("the path of the running binary is not known: %w", start.err)
	}
	if self.err != nil {
		return self.err
	}
	return checkManager()
}

// Run replaces the process. It returns when that has failed, and the process
// goes on as before, or, after a dry run or when the process is about to end, nil.
// Each step is told to a function, by the goroutine that calls Run.
func Run(options Options, admin *Admin, hooks Hooks, tell func(Event)) error {
	u := &upgrade{Options: options, hooks: hooks, admin: admin, tell: tell, begun: time.Now()}
	if err := Check(); err != nil {
		return err
	}
	if !running.CompareAndSwap(nil, u) {
		return errTwice
	}
	if loads.busy.Swap(true) { // this process is itself on probation
		running.Store(nil)
		return errTwice
	}
	loads.strict.Store(true)
	err := u.run()
	if err != nil {
		logger().Error("the upgrade failed; this process goes on", zap.Error(err))
		u.say(Event{Step: StepFailed, Error: err.Error()})
	}
	if err != nil || u.DryRun {
		loads.end()
		running.Store(nil)
	}
	return err
}

// say tells of a step.
func (u *upgrade) say(e Event) {
	e.After = time.Since(u.begun).Seconds()
	if u.child != nil {
		e.PID, e.Version = u.child.pid(), u.child.version
	}
	u.tell(e)
}

func (u *upgrade) run() (err error) {
	if u.Binary == "" {
		u.Binary = strings.TrimSuffix(start.binary, " (deleted)")
	}
	for active := context.Context(nil); active == nil || active != activeConfig(); {
		active = activeConfig()
		if u.config, err = u.admin.config(); err != nil { // it waits for one that is being loaded
			return err
		}
		u.active = active
	}
	if err := checkAddresses(u.config); err != nil {
		return err
	}
	if err := u.hold(); err != nil {
		u.close()
		return err
	}
	if err := u.prove(); err != nil || u.DryRun {
		u.rollBack()
		if errors.Is(err, errStopped) {
			logger().Info("stopping, as the new process was told to")
			Leave()
		}
		if err == nil {
			u.done()
		}
		return err
	}
	u.finish()
	return nil
}

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
	return u.admin.prepare()
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
	if err := u.child.send(load, nil); err != nil {
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
	if u.admin.address.IsUnixNetwork() {
		return nil
	}
	local, ok := u.admin.request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return nil
	}
	to, ok := local.(*net.TCPAddr)
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

// rollBack makes everything as it was.
func (u *upgrade) rollBack() {
	listeners.Resume()
	for _, g := range u.groups {
		_ = g.Keep()
	}
	_ = seamless.KeepPackets()
	if u.child != nil {
		u.child.end()
		unproven.CompareAndSwap(u.child, nil)
		defer close(u.child.given)
	}
	successorOf.Store(nil)
	if u.owned && !caddy.Exiting() {
		if err := ownPIDFile(); err != nil {
			logger().Error("writing the PID file again", zap.Error(err))
		}
	}
	u.admin.restore()
	if err := seamless.DetachPackets(); err != nil {
		logger().Warn("keeping HTTP/3 connections", zap.Error(err))
	}
	u.close()
}

// close forgets the groups: what is left of them is this process' alone.
func (u *upgrade) close() {
	for _, g := range u.groups {
		_ = g.Detach()
		_ = g.Close()
	}
}

// finish leaves everything to the successor, and ends when the last requests have.
func (u *upgrade) finish() {
	if err := notifyMain(u.child.pid()); err != nil {
		u.warn("telling the service manager of the new process", err)
	}
	if err := u.admin.forsake(); err != nil {
		u.warn("leaving the admin endpoint", err)
	}
	if err := forgetPIDFile(); err != nil {
		u.warn("leaving the PID file", err)
	}
	outlive(u.child.pid())
	u.admin.close()
	for _, g := range u.groups {
		if g != u.front {
			if err := g.End(); err != nil {
				u.warn("leaving a listener", err)
			}
		}
		_ = g.Close()
	}
	u.say(Event{Step: StepReleased})
	logger().Info("the new process has taken over; this one drains", zap.Int("pid", u.child.pid()), zap.String("version", u.child.version))
	u.drain()
	u.done()
}

// warn notes what did not work though nothing can be done about it any more.
func (u *upgrade) warn(what string, err error) {
	logger().Warn(what, zap.Error(err))
	u.result.Warnings = append(u.result.Warnings, what+": "+err.Error())
}

// drain waits until the process has no requests and streams any more.
func (u *upgrade) drain() {
	before := u.open()
	seamless.Leave(u.child.move, func(key string) bool { return slices.Contains(u.plain, key) })
	if u.hooks.Drain != nil {
		u.hooks.Drain()
	}
	limit := time.Now().Add(u.Drain)
	ctx, cancel := context.WithDeadline(context.Background(), limit)
	defer cancel()
	go seamless.DrainHTTP3(ctx)
	var told time.Time
	for u.open() > 0 && time.Now().Before(limit) && !caddy.Exiting() {
		if time.Since(told) > time.Second {
			told = time.Now()
			_ = u.child.send(working, u.working())
		}
		time.Sleep(5 * time.Millisecond) // nothing announces the last of so many kinds
	}
	u.result.ClosedByLimit = u.open()
	if u.result.ClosedByLimit > 0 {
		if u.hooks.CloseStreams != nil {
			u.hooks.CloseStreams()
		}
		if !caddy.Exiting() { // else Caddy itself waits for requests
			seamless.Abort()
		}
	}
	u.result.Moved = seamless.Left().Moved
	u.result.Drained = max(0, before-u.result.Moved-u.result.ClosedByLimit)
}

// working returns what the process still has.
func (u *upgrade) working() Working {
	w := Working{Connections: seamless.Connections()}
	if u.hooks.Streams != nil {
		w.Streams = u.hooks.Streams()
	}
	return w
}

// open returns how many connections and streams there are.
func (u *upgrade) open() int64 {
	w := u.working()
	return int64(w.Connections + w.Streams)
}

// done tells what has happened.
func (u *upgrade) done() {
	u.result.DryRun = u.DryRun
	u.say(Event{Step: StepDone, Result: &u.result})
}
