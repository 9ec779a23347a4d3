package ginbridge

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
)

// handOver is how long the goroutines of App.Go wait for those of the
// configurations before theirs to return.
const handOver = 10 * time.Second

// task is a function given to App.Go.
type task struct {
	run    func(context.Context)
	logger *zap.Logger
}

func (g *Generation) addTask(t task) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.started {
		t.logger.Error("App.Go called after the configuration started; use it in the build function only")
		return
	}
	g.tasks = append(g.tasks, t)
}

// runTasks owns the goroutines of App.Go.
func (g *Generation) runTasks(tasks []task, before []*Generation, live func() bool) {
	defer close(g.tasksDone)
	// Caddy has no event for "has become the current configuration"; it
	// follows "started" within microseconds, or never.
	for wait := 50 * time.Microsecond; !live(); wait = min(2*wait, 10*time.Millisecond) {
		select {
		case <-g.taskCtx.Done():
			return
		case <-time.After(wait):
		}
	}
	deadline := time.NewTimer(handOver)
	defer deadline.Stop()
	for _, older := range before {
		select {
		case <-older.tasksDone:
		case <-g.taskCtx.Done():
			return
		case <-deadline.C:
			g.logger.Warn("starting background goroutines beside those of an older configuration, which have not returned",
				zap.Uint64("generation", g.id), zap.Uint64("older_generation", older.id))
			deadline.Reset(0)
		}
	}
	var running sync.WaitGroup
	for _, t := range tasks {
		running.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					t.logger.Error("background goroutine panicked",
						zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
				}
			}()
			t.run(g.taskCtx)
		})
	}
	running.Wait()
}
