package orders

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestAnOrder(t *testing.T) {
	a := serve(t)
	var made, got order
	status, header := a.do("POST", "/orders", "key", `{"item": "pen", "quantity": 2}`, &made)
	if status != 201 || made.ID == 0 || made.Item != "pen" || made.Quantity != 2 || made.Created == "" || made.Shipped != "" {
		t.Fatalf("got %d %+v", status, made)
	}
	path := header.Get("Location")
	for _, want := range []string{"orders; fwd=miss", "orders; hit"} {
		status, header := a.do("GET", path, "", "", &got)
		if status != 200 || got != made || header.Get("Cache-Status") != want {
			t.Errorf("got %d %+v, %q", status, got, header.Get("Cache-Status"))
		}
	}
	if status, _ := a.do("PATCH", path, "", `{"quantity": 3}`, &got); status != 200 || got.Quantity != 3 {
		t.Errorf("got %d %+v", status, got)
	}
	if status, _ := a.do("GET", path, "", "", &got); status != 200 || got.Quantity != 3 {
		t.Errorf("got %d %+v after the change", status, got)
	}
	// the order as it is now, though the request is compared with the first
	if status, _ := a.do("POST", "/orders", "key", `{"quantity": 2, "item": "pen"}`, &got); status != 200 || got.ID != made.ID || got.Quantity != 3 {
		t.Errorf("got %d %+v for the same key", status, got)
	}
	if status, _ := a.do("POST", "/orders", "key", `{"item": "pen", "quantity": 3}`, nil); status != 422 {
		t.Errorf("got %d for the key of another order", status)
	}
	if err := a.worker().shipAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, _ := a.do("PATCH", path, "", `{"quantity": 4}`, nil); status != 409 {
		t.Errorf("got %d for a change after the shipment", status)
	}
	if a.do("GET", path, "", "", &got); got.Quantity != 3 || got.Shipped == "" {
		t.Errorf("got %+v after the shipment", got)
	}
}

// A client that is told of a shipment, here by repeating its request, right
// after the commit, does not read of the time before.
func TestNobodyReadsAnOlderOrderThanHeWasTold(t *testing.T) {
	a := serve(t)
	var made, told, read order
	a.do("POST", "/orders", "key", `{"item": "pen", "quantity": 2}`, &made)
	path := fmt.Sprintf("/orders/%d", made.ID)
	a.do("GET", path, "", "", &read)
	var end func()
	if _, err := a.store.ship(t.Context(), 1, func(ids []int64) { end = a.cache.withhold(ids...) }); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		a.do("POST", "/orders", "key", `{"item": "pen", "quantity": 2}`, &told)
		a.do("GET", path, "", "", &read)
		if told.Shipped == "" || read != told {
			t.Errorf("%s the end: told of %+v, read %+v", when, told, read)
		}
		if when == "before" {
			end()
		}
	}
}

func TestList(t *testing.T) {
	a := serve(t)
	var sum summary
	if status, _ := a.do("GET", "/orders", "", "", &sum); status != 200 || sum.Orders != 0 || sum.Latest == nil {
		t.Errorf("got %d %+v", status, sum)
	}
	for i := range 3 {
		a.do("POST", "/orders", fmt.Sprint(i), fmt.Sprintf(`{"item": "pen %d", "quantity": 1}`, i), nil)
	}
	if _, err := a.store.ship(t.Context(), 1, ignore); err != nil {
		t.Fatal(err)
	}
	a.do("GET", "/orders?limit=2", "", "", &sum)
	if sum.Orders != 3 || sum.Shipped != 1 || len(sum.Latest) != 2 || sum.Latest[0].Item != "pen 2" {
		t.Errorf("got %+v", sum)
	}
}

func TestRefusals(t *testing.T) {
	a := serve(t)
	a.do("POST", "/orders", "key", `{"item": "pen", "quantity": 1}`, nil)
	for _, tt := range []struct {
		method, path, key, body string
		want                    int
	}{
		{"POST", "/orders", "", `{"item": "pen", "quantity": 1}`, 400},
		{"POST", "/orders", strings.Repeat("k", 201), `{"item": "pen", "quantity": 1}`, 400},
		{"POST", "/orders", "k", `{"item": "pen"}`, 400},
		{"POST", "/orders", "k", `{"item": "pen", "quantity": -1}`, 400},
		{"POST", "/orders", "k", `{"quantity": 1}`, 400},
		{"POST", "/orders", "k", `not JSON`, 400},
		{"GET", "/orders/99", "", "", 404},
		{"GET", "/orders/x", "", "", 404},
		{"PATCH", "/orders/99", "", `{"quantity": 1}`, 404},
		{"PATCH", "/orders/1", "", `{"quantity": 0}`, 400},
		{"GET", "/orders?limit=-1", "", "", 400},
	} {
		if status, _ := a.do(tt.method, tt.path, tt.key, tt.body, nil); status != tt.want {
			t.Errorf("%s %s %s: got %d, want %d", tt.method, tt.path, tt.body, status, tt.want)
		}
	}
	if n := count(t, a.store, `SELECT count(*) FROM orders`); n != 1 {
		t.Errorf("%d orders", n)
	}
}

// One client changes an order, others read it all the time: each reader sees
// the quantity grow only, and never less than what had been acknowledged.
func TestReadersNeverGoBack(t *testing.T) {
	a := serve(t)
	a.do("POST", "/orders", "key", `{"item": "pen", "quantity": 1}`, nil)
	const changes = 200
	var mu sync.Mutex
	acknowledged := 1
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for seen := 1; seen < changes && !t.Failed(); {
				mu.Lock()
				least := max(seen, acknowledged)
				mu.Unlock()
				var o order
				if a.do("GET", "/orders/1", "", "", &o); o.Quantity < least {
					t.Errorf("read %d after %d", o.Quantity, least)
				}
				seen = o.Quantity
			}
		})
	}
	for n := 2; n <= changes; n++ {
		if status, _ := a.do("PATCH", "/orders/1", "", fmt.Sprintf(`{"quantity": %d}`, n), nil); status != 200 {
			t.Errorf("got %d", status)
		}
		mu.Lock()
		acknowledged = n
		mu.Unlock()
	}
	clients.Wait()
}
