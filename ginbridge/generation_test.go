package ginbridge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

func alive() bool { return true }

// newTestApp returns an app of a new generation, and what both log.
func newTestApp(t *testing.T) (*App, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.DebugLevel)
	logger := zap.New(core)
	g := NewGeneration(logger)
	t.Cleanup(func() { g.Retire(false, 0) })
	return &App{name: "test", logger: logger, gen: g}, logs
}

func isReleased(g *Generation) bool {
	select {
	case <-g.released:
		return true
	default:
		return false
	}
}

func awaitRelease(t *testing.T, g *Generation) {
	t.Helper()
	select {
	case <-g.released:
	case <-time.After(patience):
		t.Fatal("the generation is not released")
	}
}

// hasten has a generation released as soon as nobody uses it.
func hasten(g *Generation) { g.hurryOnce.Do(func() { close(g.hurry) }) }

func TestFailedGenerationIsReleasedAtOnce(t *testing.T) {
	app, logs := newTestApp(t)
	var order []string
	app.OnRelease(func() error { order = append(order, "opened first"); return nil })
	app.OnRelease(func() error { return errors.New("sticks") })
	app.OnRelease(func() error { panic("breaks") })
	app.OnRelease(func() error { order = append(order, "opened last"); return nil })
	app.Go(func(context.Context) { t.Error("a goroutine of a configuration that failed started") })
	app.gen.Retire(false, 0)
	if !isReleased(app.gen) {
		t.Error("it is not released when Retire returns")
	}
	if want := []string{"opened last", "opened first"}; !slices.Equal(order, want) {
		t.Errorf("released %q, want %q", order, want)
	}
	if n := logs.FilterMessage("releasing a resource").Len(); n != 1 {
		t.Errorf("%d entries about the error, want 1", n)
	}
	if n := logs.FilterMessage("releasing a resource panicked").Len(); n != 1 {
		t.Errorf("%d entries about the panic, want 1", n)
	}
	select {
	case <-app.Draining():
	default:
		t.Error("Draining is open")
	}
}

func TestNobodyCanAcquireAReleasedGeneration(t *testing.T) {
	app, _ := newTestApp(t)
	if !app.gen.Acquire() {
		t.Error("not acquired before the start")
	}
	app.gen.Start(alive)
	app.gen.Retire(false, 0)
	hasten(app.gen)
	if !app.gen.Acquire() {
		t.Error("not acquired while draining, though in use")
	}
	app.gen.Release()
	app.gen.Release()
	awaitRelease(t, app.gen)
	for range 3 {
		if app.gen.Acquire() {
			t.Error("acquired after its release")
		}
	}
}

func TestGenerationWithoutUsersSettles(t *testing.T) {
	app, _ := newTestApp(t)
	released := make(chan time.Time, 1)
	app.OnRelease(func() error { released <- time.Now(); return nil })
	app.gen.Start(alive)
	drained := time.Now()
	app.gen.Retire(false, 0)
	if !app.gen.Acquire() {
		t.Error("not acquired right after the start of draining")
	}
	app.gen.Release()
	select {
	case at := <-released:
		if d := at.Sub(drained); d < settle {
			t.Errorf("released %v after the start of draining, want %v at least", d, settle)
		}
	case <-time.After(patience):
		t.Fatal("not released")
	}
}

func TestGenerationIsReleasedOnceAfterItsLastUser(t *testing.T) {
	for range 20 {
		app, _ := newTestApp(t)
		var users, served, refused, releases atomic.Int64
		app.OnRelease(func() error {
			releases.Add(1)
			if n := users.Load(); n != 0 {
				t.Errorf("released under %d users", n)
			}
			return nil
		})
		app.gen.Start(alive)
		var clients sync.WaitGroup
		begun := make(chan struct{})
		for range 32 {
			clients.Go(func() {
				<-begun
				for range 500 {
					if !app.gen.Acquire() {
						refused.Add(1)
						continue
					}
					users.Add(1)
					served.Add(1)
					users.Add(-1)
					app.gen.Release()
				}
			})
		}
		close(begun)
		for range 4 {
			clients.Go(func() {
				app.gen.Drain()
				app.gen.Retire(false, 0)
				hasten(app.gen)
			})
		}
		clients.Wait()
		awaitRelease(t, app.gen)
		if n := releases.Load(); n != 1 {
			t.Errorf("released %d times", n)
		}
		if served.Load()+refused.Load() != 32*500 {
			t.Errorf("%d served and %d refused", served.Load(), refused.Load())
		}
	}
}

func TestDrainTwice(t *testing.T) {
	app, _ := newTestApp(t)
	cancelled := make(chan struct{})
	app.Go(func(ctx context.Context) {
		<-ctx.Done()
		close(cancelled)
	})
	app.gen.Start(alive)
	select {
	case <-app.Draining():
		t.Error("draining before Drain")
	default:
	}
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(app.gen.Drain)
	}
	calls.Wait()
	<-app.Draining()
	at := app.gen.drainedAt
	app.gen.Drain()
	if app.gen.drainedAt != at {
		t.Error("a second Drain changes the time of the first")
	}
	<-app.gen.tasksDone // which may have been too late to start
}

func TestRetireAtExitReleasesByForceAfterTheGracePeriod(t *testing.T) {
	app, logs := newTestApp(t)
	app.gen.Start(alive)
	if !app.gen.Acquire() {
		t.Fatal("not acquired")
	}
	start := time.Now()
	app.gen.Retire(true, 50*time.Millisecond)
	if !isReleased(app.gen) {
		t.Error("it is not released when Retire returns")
	}
	if d := time.Since(start); d > exitWait {
		t.Errorf("it took %v", d)
	}
	if n := logs.FilterMessageSnippet("exiting before the last requests").Len(); n != 1 {
		t.Errorf("%d entries about the user, want 1", n)
	}
	app.gen.Release() // the user ends after all
	if app.gen.Acquire() {
		t.Error("acquired after its release")
	}
}

func TestGoroutinesNeverStartIfTheConfigurationIsNotTheCurrentOne(t *testing.T) {
	app, _ := newTestApp(t)
	app.Go(func(context.Context) { t.Error("a goroutine started") })
	asked := make(chan struct{})
	var once sync.Once
	app.gen.Start(func() bool {
		once.Do(func() { close(asked) })
		return false
	})
	<-asked
	app.gen.Retire(false, 0)
	hasten(app.gen)
	awaitRelease(t, app.gen)
	<-app.gen.tasksDone
}

func TestGoroutinesStartAfterThoseBeforeHaveReturned(t *testing.T) {
	var running, most atomic.Int64
	work := func(ctx context.Context) {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond) // work that cannot be cancelled
		running.Add(-1)
	}
	var last *Generation
	for range 10 {
		app, _ := newTestApp(t)
		started := make(chan struct{})
		app.Go(func(ctx context.Context) {
			close(started)
			work(ctx)
		})
		app.gen.Start(alive)
		if last != nil {
			last.Retire(false, 0)
		}
		last = app.gen
		<-started
	}
	last.Drain()
	<-last.tasksDone
	if n := most.Load(); n != 1 {
		t.Errorf("goroutines of %d configurations ran at the same time", n)
	}
}

func TestGoroutineThatPanicsIsLogged(t *testing.T) {
	app, logs := newTestApp(t)
	released := make(chan struct{})
	app.OnRelease(func() error { close(released); return nil })
	app.Go(func(context.Context) { panic("breaks") })
	app.gen.Start(alive)
	<-app.gen.tasksDone
	entries := logs.FilterMessage("background goroutine panicked").All()
	if len(entries) != 1 || entries[0].ContextMap()["panic"] != "breaks" {
		t.Errorf("got the entries %v", entries)
	}
	select {
	case <-released:
		t.Error("the panic released the configuration")
	default:
	}

	app.Go(func(context.Context) { t.Error("a goroutine started after the build function") })
	if n := logs.FilterMessageSnippet("App.Go called after the configuration started").Len(); n != 1 {
		t.Errorf("%d entries about a late App.Go, want 1", n)
	}
}
