package ginbridge

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// sharedThing counts how often it is closed.
type sharedThing struct{ closed atomic.Int64 }

func (s *sharedThing) Close() error {
	s.closed.Add(1)
	return nil
}

// sharedDestructor is a Destructor that is also a Closer.
type sharedDestructor struct{ sharedThing }

func (s *sharedDestructor) Destruct() error { return errors.New("sticks") }

func TestSharedIsOpenedOnceByMany(t *testing.T) {
	key := t.Name()
	var opened atomic.Int64
	thing := new(sharedThing)
	var apps sync.WaitGroup
	begin := make(chan struct{})
	generations := make([]*Generation, 50)
	for i := range generations {
		app, _ := newTestApp(t)
		generations[i] = app.gen
		apps.Go(func() {
			<-begin
			got, err := Shared(app, key, func() (*sharedThing, error) {
				opened.Add(1)
				return thing, nil
			})
			if err != nil || got != thing {
				t.Errorf("got %p, %v; want %p", got, err, thing)
			}
		})
	}
	close(begin)
	apps.Wait()
	if n := opened.Load(); n != 1 {
		t.Errorf("opened %d times", n)
	}
	for i, g := range generations {
		if n := thing.closed.Load(); n != 0 {
			t.Fatalf("closed %d times with %d users left", n, len(generations)-i)
		}
		g.Retire(false, 0)
	}
	if n := thing.closed.Load(); n != 1 {
		t.Errorf("closed %d times, want once", n)
	}
}

func TestSharedThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	key := t.Name()
	app, _ := newTestApp(t)
	cause := errors.New("no such host")
	for name, open := range map[string]func() (*sharedThing, error){
		"error":       func() (*sharedThing, error) { return nil, cause },
		"panic":       func() (*sharedThing, error) { panic(cause) },
		"panic again": func() (*sharedThing, error) { panic(fmt.Sprint(cause)) },
	} {
		got, err := Shared(app, key, open)
		if got != nil || err == nil || !strings.Contains(err.Error(), cause.Error()) || !strings.Contains(err.Error(), `"`+key+`"`) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
		if name != "panic again" && !errors.Is(err, cause) {
			t.Errorf("%s: the cause is lost in %v", name, err)
		}
	}
	thing := new(sharedThing)
	if got, err := Shared(app, key, func() (*sharedThing, error) { return thing, nil }); err != nil || got != thing {
		t.Errorf("got %p, %v; want %p", got, err, thing)
	}
	app.gen.Retire(false, 0)
	if n := thing.closed.Load(); n != 1 {
		t.Errorf("closed %d times, want once", n)
	}
}

func TestSharedOfOneKeyAndTwoTypes(t *testing.T) {
	key := t.Name()
	app, _ := newTestApp(t)
	number, err := Shared(app, key, func() (int, error) { return 7, nil })
	if err != nil || number != 7 {
		t.Errorf("got %d, %v", number, err)
	}
	text, err := Shared(app, key, func() (string, error) { return "seven", nil })
	if err != nil || text != "seven" {
		t.Errorf("got %q, %v", text, err)
	}
	thing := new(sharedThing)
	closer, err := Shared(app, key, func() (io.Closer, error) { return thing, nil })
	if err != nil || closer != io.Closer(thing) {
		t.Errorf("got %v, %v", closer, err)
	}
	none, err := Shared(app, key+" none", func() (io.Closer, error) { return nil, nil })
	if err != nil || none != nil {
		t.Errorf("got %v, %v", none, err)
	}
	app.gen.Retire(false, 0)
	if n := thing.closed.Load(); n != 1 {
		t.Errorf("closed %d times, want once", n)
	}
}

func TestSharedThatFailsToCloseIsLogged(t *testing.T) {
	app, logs := newTestApp(t)
	thing := new(sharedDestructor)
	if _, err := Shared(app, t.Name(), func() (*sharedDestructor, error) { return thing, nil }); err != nil {
		t.Fatal(err)
	}
	app.gen.Retire(false, 0)
	entries := logs.FilterMessage("releasing a resource").All()
	if len(entries) != 1 || !strings.Contains(fmt.Sprint(entries[0].ContextMap()["error"]), t.Name()) {
		t.Errorf("got the entries %v, want one that names the key", entries)
	}
	if n := thing.closed.Load(); n != 0 {
		t.Errorf("a Destructor was closed, too")
	}
	// the key is free all the same
	next, _ := newTestApp(t)
	other := new(sharedDestructor)
	if got, err := Shared(next, t.Name(), func() (*sharedDestructor, error) { return other, nil }); err != nil || got != other {
		t.Errorf("got %p, %v; want %p", got, err, other)
	}
}
