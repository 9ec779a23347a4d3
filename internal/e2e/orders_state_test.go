package e2e

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// ordersNoErrors checks that the app had nothing to complain about.
func ordersNoErrors(t *testing.T, s *testcaddy.Server) {
	t.Helper()
	for _, e := range s.Log() {
		if e.Logger == "gin.apps.orders" && (e.Level == "error" || e.Level == "warn") {
			t.Errorf("the app logged: %s", e.Raw)
		}
	}
}

// ordersCheck starts the server anew and compares what it knows, and what is
// in the database, with what the clients were told.
func ordersCheck(t *testing.T, database string, load *ordersLoad) {
	t.Helper()
	s := testcaddy.Start(t, ordersApp(database, "10ms"))
	testcaddy.Eventually(t, "the shipment of all orders", func() bool {
		var sum struct{ Orders, Shipped int }
		body := lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/orders?limit=0"))
		if err := json.Unmarshal([]byte(body), &sum); err != nil {
			t.Fatal(err)
		}
		return sum.Orders > 0 && sum.Orders == sum.Shipped
	})
	s.Stop()
	ordersNoErrors(t, s)

	db, err := sql.Open("sqlite", filepath.ToSlash(database))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ordersNone(t, db, "orders that are there twice", `SELECT item FROM orders GROUP BY item HAVING count(*) > 1`)
	ordersNone(t, db, "orders without exactly one request", `SELECT item FROM orders o
		WHERE (SELECT count(*) FROM requests WHERE order_id = o.id AND key = o.item) != 1`)
	ordersNone(t, db, "orders without exactly one shipment", `SELECT item FROM orders o
		WHERE (SELECT count(*) FROM shipments WHERE order_id = o.id) != 1`)
	ordersNone(t, db, "orders that were changed after their shipment", `SELECT item FROM orders o
		JOIN shipments s ON s.order_id = o.id WHERE s.quantity != o.quantity`)
	ordersNone(t, db, "shipments of nothing", `SELECT id FROM shipments WHERE order_id NOT IN (SELECT id FROM orders)`)

	stored := ordersStored(t, db)
	acknowledged, unknown := 0, 0
	for _, c := range load.clients {
		for _, r := range c.records {
			o, found := stored[r.key]
			switch {
			case r.id == 0: // may be there or not
				unknown++
			case !found:
				t.Errorf("order %s was acknowledged and is lost", r.key)
			default:
				acknowledged++
				if bad := r.fits(o); bad != "" {
					t.Errorf("after the end, order %s is %s: got %+v, know %+v", r.key, bad, o, *r)
				}
			}
		}
	}
	t.Logf("%d orders and shipments in the database; of this load, %d acknowledged and %d without an answer",
		len(stored), acknowledged, unknown)
	if acknowledged == 0 {
		t.Error("no order was acknowledged, so this test shows nothing")
	}
}

// ordersNone checks that a query finds nothing.
func ordersNone(t *testing.T, db *sql.DB, what, query string) {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer func() { _ = rows.Close() }()
	var found []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		found = append(found, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		t.Errorf("%d %s: %v", len(found), what, found[:min(len(found), 5)])
	}
}

// ordersStored returns all orders of the database by item.
func ordersStored(t *testing.T, db *sql.DB) map[string]ordersOrder {
	t.Helper()
	rows, err := db.Query(`SELECT id, item, quantity, coalesce(shipped, '') FROM orders`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	stored := make(map[string]ordersOrder)
	for rows.Next() {
		var o ordersOrder
		if err := rows.Scan(&o.ID, &o.Item, &o.Quantity, &o.Shipped); err != nil {
			t.Fatal(err)
		}
		stored[o.Item] = o
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return stored
}
