package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// ordersWatched is the order that a client is at work on.
type ordersWatched struct {
	id    int64
	acked atomic.Int64 // the quantity that was acknowledged last; 0 for that of the beginning
}

// watch reads the order of another client while that one changes it. The
// quantity grows only, and is never less than was acknowledged before the read.
func (c *ordersClient) watch(watched *atomic.Pointer[ordersWatched]) {
	defer c.http.CloseIdleConnections()
	var order *ordersWatched
	var seen ordersOrder
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		now := watched.Load()
		if now == nil {
			if c.ending.Load() {
				return
			}
			time.Sleep(time.Millisecond)
			continue
		}
		if now != order {
			order, seen = now, ordersOrder{}
		}
		least := max(int(order.acked.Load()), seen.Quantity, 1)
		status, o, alive := c.do(http.MethodGet, fmt.Sprintf("/orders/%d", order.id), "", "", http.StatusOK)
		switch {
		case !alive:
			return
		case status == 0:
			continue
		case o.ID != order.id || o.Quantity < least:
			c.note(&c.wrong, "a watcher read %+v, want a quantity of %d", o, least)
		case seen.Shipped != "" && o != seen:
			c.note(&c.wrong, "a watcher read %+v after %+v", o, seen)
		}
		seen = o
	}
}

// ordersShipmentsSeen checks that what the list, which is not cached, says to
// be shipped is so in the cache, too, by whichever worker it was shipped.
func ordersShipmentsSeen(t *testing.T, s *testcaddy.Server) {
	t.Helper()
	client := testcaddy.Client(t, "http")
	read := func(path string, v any) {
		t.Helper()
		if err := json.Unmarshal([]byte(lifeGet(t, client, s.HTTP(path))), v); err != nil {
			t.Fatal(err)
		}
	}
	var list struct{ Latest []ordersOrder }
	read("/orders?limit=300", &list)
	for _, o := range list.Latest {
		if o.Shipped == "" {
			continue
		}
		testcaddy.Eventually(t, fmt.Sprintf("the shipment of order %d to be seen", o.ID), func() bool {
			var cached ordersOrder
			read(fmt.Sprintf("/orders/%d", o.ID), &cached)
			return cached == o
		})
	}
}
