package orders

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// source counts how often it is asked for an order.
type source struct {
	loads int
	err   error
}

func (s *source) load(_ context.Context, id int64) (order, error) {
	s.loads++
	return order{ID: id, Quantity: s.loads}, s.err
}

func TestCacheLoadsOnce(t *testing.T) {
	c, src := newCache(10), new(source)
	for i := range 3 {
		o, hit, err := c.get(t.Context(), 7, src.load)
		if o != (order{ID: 7, Quantity: 1}) || hit != (i > 0) || err != nil {
			t.Errorf("got %+v, %t, %v", o, hit, err)
		}
	}
	c.withhold(6, 7)()
	if o, hit, _ := c.get(t.Context(), 7, src.load); hit || o.Quantity != 2 {
		t.Errorf("got %+v, %t after a change", o, hit)
	}
}

// The order is changed while a slow client has read the old one and has not
// put it into the cache yet.
func TestCacheForgetsWhatIsBeingLoaded(t *testing.T) {
	c := newCache(10)
	value := func(n int) func(context.Context, int64) (order, error) {
		return func(_ context.Context, id int64) (order, error) { return order{ID: id, Quantity: n}, nil }
	}
	read, proceed := make(chan struct{}), make(chan struct{})
	var slow sync.WaitGroup
	slow.Go(func() {
		o, _, err := c.get(t.Context(), 1, func(ctx context.Context, id int64) (order, error) {
			old, err := value(1)(ctx, id)
			close(read)
			<-proceed
			return old, err
		})
		if o.Quantity != 1 || err != nil {
			t.Errorf("the slow client got %+v, %v", o, err)
		}
	})
	<-read
	c.withhold(1)()
	for _, when := range []string{"while", "after"} {
		if o, _, err := c.get(t.Context(), 1, value(2)); o.Quantity != 2 || err != nil {
			t.Errorf("got %+v, %v %s the old order was loaded", o, err, when)
		}
		if when == "while" {
			close(proceed)
			slow.Wait()
		}
	}
}

// Between a change's commit and its end, clients may know of it already.
func TestCacheHasNoOrderWhileItIsChanged(t *testing.T) {
	c, src := newCache(10), new(source)
	read := func(loads int, wantHit bool) {
		t.Helper()
		if o, hit, err := c.get(t.Context(), 1, src.load); o.Quantity != loads || hit != wantHit || err != nil {
			t.Errorf("got %+v, %t, %v; want that of load %d", o, hit, err, loads)
		}
	}
	read(1, false)
	end, endOther := c.withhold(1), c.withhold(1, 2)
	read(2, false)
	end()
	read(3, false)
	endOther()
	read(4, false)
	read(4, true)
	if len(c.withheld) > 0 {
		t.Errorf("%v are withheld", c.withheld)
	}
}

func TestCacheKeepsNoErrors(t *testing.T) {
	c, src := newCache(10), &source{err: errNotFound}
	if _, _, err := c.get(t.Context(), 1, src.load); !errors.Is(err, errNotFound) {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_, _, _ = c.get(t.Context(), 1, func(context.Context, int64) (order, error) { panic("no order") })
	}()
	src.err = nil
	if o, hit, err := c.get(t.Context(), 1, src.load); hit || err != nil || o.Quantity != 2 {
		t.Errorf("got %+v, %t, %v", o, hit, err)
	}
}

// A client that goes away while others wait for its order costs them nothing.
func TestCacheOutlivesTheClientThatLoads(t *testing.T) {
	c, src := newCache(10), new(source)
	loading, gone := make(chan struct{}), make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		_, _, err := c.get(t.Context(), 1, func(context.Context, int64) (order, error) {
			close(loading)
			<-gone
			return order{}, context.Canceled
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	<-loading
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.get(impatient, 1, src.load); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v for a client that is gone", err)
	}
	var second sync.WaitGroup
	second.Go(func() {
		if o, _, err := c.get(t.Context(), 1, src.load); o.Quantity != 1 || err != nil {
			t.Errorf("got %+v, %v", o, err)
		}
	})
	close(gone)
	first.Wait()
	second.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	c, src := newCache(3), new(source)
	for id := range int64(10) {
		if _, _, err := c.get(t.Context(), id, src.load); err != nil {
			t.Error(err)
		}
		if _, hit, _ := c.get(t.Context(), id, src.load); !hit {
			t.Error("the order that was read last is gone")
		}
	}
	if len(c.entries) != 3 {
		t.Errorf("%d orders are cached, want 3", len(c.entries))
	}
}
