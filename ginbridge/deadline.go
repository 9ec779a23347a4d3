package ginbridge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// deadlineContext is a request context with a deadline that can be lifted. It
// has a channel of its own, so that contexts derived from it end with
// DeadlineExceeded, too; cause is there for context.Cause.
type deadlineContext struct {
	context.Context // the parent
	at              time.Time
	done            chan struct{}
	timer           *time.Timer
	cause           context.Context
	vars            map[string]any // Caddy's request variables, for the handlers alone
	writer          *timeoutWriter // set before the context is handed out
	setCause        context.CancelCauseFunc

	mu     sync.Mutex
	lifted bool
	err    error
}

// timeoutKey is the key of the timeoutWriter in the context of its request.
type timeoutKey struct{}

func newDeadline(parent context.Context, d time.Duration, vars map[string]any) *deadlineContext {
	c := &deadlineContext{Context: parent, at: time.Now().Add(d), done: make(chan struct{}), vars: vars}
	c.cause, c.setCause = context.WithCancelCause(context.Background())
	c.mu.Lock() // until the timer is in place
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(d, func() { c.end(context.DeadlineExceeded) })
	context.AfterFunc(parent, func() { c.end(parent.Err()) })
	return c
}

func (c *deadlineContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.lifted && errors.Is(err, context.DeadlineExceeded) {
		return
	}
	c.err = err
	c.setCause(err)
	close(c.done)
}

// passed tells whether the deadline ended the context.
func (c *deadlineContext) passed() bool { return errors.Is(c.Err(), context.DeadlineExceeded) }

func (c *deadlineContext) lift() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lifted = true
	c.timer.Stop()
}

// Value implements [context.Context].
func (c *deadlineContext) Value(key any) any {
	switch key {
	case caddyhttp.VarsCtxKey:
		return c.vars
	case timeoutKey{}:
		return c.writer
	}
	// context.Cause asks for a cancelCtx by a private key, which nothing else
	// in cause answers to
	if v := c.cause.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// Done implements [context.Context].
func (c *deadlineContext) Done() <-chan struct{} { return c.done }

// Err implements [context.Context].
func (c *deadlineContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Deadline implements [context.Context].
func (c *deadlineContext) Deadline() (time.Time, bool) {
	at, ok := c.Context.Deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lifted || ok && at.Before(c.at) {
		return at, ok
	}
	return c.at, true
}
