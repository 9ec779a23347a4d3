package upgrade

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/seamless"
)

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
	u.admin.restore(u.result.NewPID)
	if err := seamless.DetachPackets(); err != nil {
		logger().Warn("keeping HTTP/3 connections", zap.Error(err))
	}
	for _, h := range u.held {
		if err := h.Free(); err != nil {
			logger().Warn("keeping HTTP/3 connections", zap.Error(err))
		}
		_ = h.Close()
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
	for _, h := range u.held {
		_ = h.Close() // its socket stays until this process has closed its own
	}
	u.say(Event{Step: StepReleased})
	logger().Info("the new process has taken over; this one drains", zap.Int("pid", u.child.pid()), zap.String("version", u.child.version))
	u.drain()
	u.done()
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
	var http3 atomic.Bool // its sockets are closed
	go func() {
		seamless.DrainHTTP3(ctx)
		http3.Store(true)
	}()
	var told time.Time
	for (u.open() > 0 || !http3.Load()) && time.Now().Before(limit) && !caddy.Exiting() {
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
