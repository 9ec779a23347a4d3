package upgrade

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

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
	held   []*steer.Held  // of HTTP/3 that nobody can divide
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
		u.Binary = start.binary
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
		u.rollBack()
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

// done tells what has happened.
func (u *upgrade) done() {
	u.result.DryRun = u.DryRun
	u.say(Event{Step: StepDone, Result: &u.result})
}

// warn notes what did not work though nothing can be done about it any more.
func (u *upgrade) warn(what string, err error) {
	logger().Warn(what, zap.Error(err))
	u.result.Warnings = append(u.result.Warnings, what+": "+err.Error())
}
