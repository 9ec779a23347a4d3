package orders

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-gin/caddy-gin/ginbridgetest"
)

// ignore is told of orders that no cache has.
func ignore([]int64) {}

func TestWorkersShipEachOrderOnce(t *testing.T) {
	dir := t.TempDir()
	const orders = 3*batch + 7
	s := openStore(t, dir)
	// two configurations, and a process that should not be there
	stores := []*store{s, s, openStore(t, dir)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	for _, s := range stores {
		w := &worker{store: s, cache: newCache(10), interval: minShipInterval, log: zaptest.NewLogger(t)}
		running.Go(func() { w.run(ctx) })
	}
	for i := range orders {
		if _, _, err := s.create(t.Context(), fmt.Sprint(i), request{"pen", 1}); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for count(t, s, `SELECT count(*) FROM orders WHERE shipped IS NULL`) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("orders are left")
		}
		time.Sleep(minShipInterval)
	}
	cancel()
	running.Wait()
	if n, different := count(t, s, `SELECT count(*) FROM shipments`), count(t, s, `SELECT count(DISTINCT order_id) FROM shipments`); n != orders || different != orders {
		t.Errorf("%d shipments of %d orders, want %d", n, different, orders)
	}
}

// A worker that is stopped half-way leaves an order shipped or not, and never
// claimed without a shipment.
func TestStoppedWorkersLeaveNoOrderBehind(t *testing.T) {
	s := openStore(t, t.TempDir())
	for i := range 300 {
		if _, _, err := s.create(t.Context(), fmt.Sprint(i), request{"pen", 1}); err != nil {
			t.Fatal(err)
		}
		if i%10 != 0 {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		var stopped sync.WaitGroup
		stopped.Go(cancel)
		_, _ = s.ship(ctx, batch, ignore)
		stopped.Wait()
	}
	if _, err := s.ship(t.Context(), 300, ignore); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM orders o
		WHERE shipped IS NULL OR (SELECT count(*) FROM shipments WHERE order_id = o.id) != 1`); n != 0 {
		t.Errorf("%d orders were not shipped once", n)
	}
}

// The worker of the app ships what the clients of the app ask for all the time,
// also while it is reloaded.
func TestShippingIsSeenThroughTheCache(t *testing.T) {
	cfg := Config{Database: filepath.Join(t.TempDir(), "orders.db"), ShipInterval: minShipInterval}
	kit := ginbridgetest.New(t, "orders", cfg)
	a := &app{t: t, url: kit.Server().URL}
	deadline := time.Now().Add(time.Minute)
	for key := range 3 {
		var o order
		if status, _ := a.do("POST", "/orders", fmt.Sprint(key), `{"item": "pen", "quantity": 2}`, &o); status != 201 {
			t.Fatalf("got %d", status)
		}
		kit.Reload(cfg)
		for path := fmt.Sprintf("/orders/%d", o.ID); o.Shipped == ""; {
			if status, _ := a.do("GET", path, "", "", &o); status != 200 || time.Now().After(deadline) {
				t.Fatalf("got %d %+v", status, o)
			}
		}
	}
}
