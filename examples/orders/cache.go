package orders

import (
	"context"
	"errors"
	"sync"
)

// maxCached is the number of orders that the cache of a database keeps.
const maxCached = 10_000

// cache keeps orders in memory. An order that is read after forget has
// returned is not older than it was when forget was called, also if somebody
// was just loading it. It is safe for concurrent use.
type cache struct {
	limit int

	mu      sync.Mutex
	entries map[int64]*entry
}

// entry is an order, or the wait for one. While it is in the cache, all who
// want the order get this one; forget takes it out, and who comes then loads
// the order anew.
type entry struct {
	loaded chan struct{} // closed when the rest is set
	order  order
	err    error
}

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: make(map[int64]*entry)}
}

// get returns the order with the given id, and whether it was in the cache.
// If it was not, load gets it; several clients share one call.
func (c *cache) get(ctx context.Context, id int64, load func(context.Context, int64) (order, error)) (o order, hit bool, err error) {
	e, found := c.entry(id)
	if !found {
		c.fill(ctx, id, e, load)
		return e.order, false, e.err
	}
	select {
	case <-e.loaded:
	case <-ctx.Done():
		return order{}, false, ctx.Err()
	}
	if e.err != nil { // perhaps only because the other client has gone
		o, err = load(ctx, id)
		return o, false, err
	}
	return e.order, true, nil
}

// entry returns the entry with the given id, and whether somebody else has
// put it there and loads it.
func (c *cache) entry(id int64) (e *entry, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, found = c.entries[id]; found {
		return e, true
	}
	for other := range c.entries {
		if len(c.entries) < c.limit {
			break
		}
		delete(c.entries, other)
	}
	e = &entry{loaded: make(chan struct{})}
	c.entries[id] = e
	return e, false
}

// fill loads an entry. One that cannot be loaded does not stay.
func (c *cache) fill(ctx context.Context, id int64, e *entry, load func(context.Context, int64) (order, error)) {
	e.err = errors.New("loading an order panicked")
	defer func() {
		if e.err != nil {
			c.mu.Lock()
			if c.entries[id] == e {
				delete(c.entries, id)
			}
			c.mu.Unlock()
		}
		close(e.loaded)
	}()
	e.order, e.err = load(ctx, id)
}

// forget takes orders out of the cache. It is to be called after the
// transaction that changed them, also if that failed: a commit that returns
// an error may have happened.
func (c *cache) forget(ids ...int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		delete(c.entries, id)
	}
}
