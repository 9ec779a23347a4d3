package ginbridge

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// readyWait is how long the checks of App.Ready may take.
const readyWait = 5 * time.Second

// check is a function given to App.Ready.
type check struct {
	app string
	run func(context.Context) error
}

func (g *Generation) addCheck(c check) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.checks = append(g.checks, c)
}

// Ready makes all checks of App.Ready at once and returns their errors, which
// name the app. There are none if the apps can serve.
func (g *Generation) Ready(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	g.mu.Lock()
	checks := slices.Clone(g.checks)
	g.mu.Unlock()
	errs := make([]error, len(checks))
	var running sync.WaitGroup
	for i, c := range checks {
		running.Go(func() {
			if err := c.make(ctx); err != nil {
				errs[i] = fmt.Errorf("app %q: %w", c.app, err)
			}
		})
	}
	running.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// make returns when the check does or ctx ends.
func (c check) make(ctx context.Context) error {
	result := make(chan error, 1)
	go func() { result <- guard(func() error { return c.run(ctx) }) }()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
