package ginbridge

import "time"

// What it takes to run a generation in a program where Caddy runs no
// configuration, as in the tests of an app: package ginbridgetest.

// StartAfter is Start for a generation that is current at once, and that
// belongs to no running Caddy: [Generations] does not list it. Its goroutines
// start when those of the generations before it have returned.
func (g *Generation) StartAfter(before ...*Generation) {
	g.mu.Lock()
	tasks := g.tasks
	g.started, g.startedAt = true, time.Now()
	g.mu.Unlock()
	if len(tasks) == 0 {
		close(g.tasksDone)
		return
	}
	go g.runTasks(tasks, before, func() bool { return true })
}

// Settle tells that nothing is on its way to the generation that it does not
// count yet, so that Retire need not allow for it.
func (g *Generation) Settle() {
	g.hurryOnce.Do(func() { close(g.hurry) })
}

// Released returns a channel that is closed when what the generation held has
// been released.
func (g *Generation) Released() <-chan struct{} { return g.released }
