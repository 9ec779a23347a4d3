package orders

import (
	"context"
	"errors"
	"sync"
)

// maxCached is the number of orders that the cache of a database keeps.
const maxCached = 10_000

// cache keeps orders in memory. An order that is read is not older than what
// anybody was told of it before, also by the database, and also if somebody was
// just loading it: whoever changes it withholds it. It is safe for concurrent use.
type cache struct {
	limit int

	mu       sync.Mutex
	entries  map[int64]*entry
	withheld map[int64]int // how many withhold the order
}

// entry is an order, or the wait for one. While it is in the cache, all who
// want the order get this one.
type entry struct {
	loaded chan struct{} // closed when the rest is set
	order  order
	err    error
}

func newCache(limit int) *cache {
	return &cache{limit: limit, entries: make(map[int64]*entry), withheld: make(map[int64]int)}
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
	e = &entry{loaded: make(chan struct{})}
	if c.withheld[id] > 0 {
		return e, false // for this client only
	}
	for other := range c.entries {
		if len(c.entries) < c.limit {
			break
		}
		delete(c.entries, other)
	}
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

// withhold takes orders out of the cache, and keeps them out until end is
// called. It is to be called before a transaction that changes them is
// committed, as anybody may read and tell of the change from then on; and end
// after that, also if it failed: a commit that returns an error may have happened.
func (c *cache) withhold(ids ...int64) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		delete(c.entries, id)
		c.withheld[id]++
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, id := range ids {
			if c.withheld[id]--; c.withheld[id] == 0 {
				delete(c.withheld, id)
			}
		}
	}
}
