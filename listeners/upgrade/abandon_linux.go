package upgrade

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
)

func init() { caddy.OnExit(abandon) }

// unproven is the successor as long as it must not outlive a process that is
// told to end.
var unproven atomic.Pointer[child]

// errExiting is for an upgrade that is given up as the process ends.
var errExiting = errors.New("this process was told to end")

// abandon ends a successor that has not proven itself, and waits until its
// upgrade has been rolled back.
func abandon(context.Context) {
	c := unproven.Swap(nil)
	if c == nil {
		return
	}
	c.end()
	select {
	case <-c.given:
	case <-time.After(patience):
	}
}
