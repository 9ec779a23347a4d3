package orders

import (
	"context"
	"database/sql"
	"time"

	"go.uber.org/zap"
)

// batch is how many orders are shipped in one transaction.
const batch = 100

// worker ships orders in the background. Several may run at once, as for a
// moment when a reload takes long, or if the app is mounted twice: each order
// is shipped by one of them.
type worker struct {
	store    *store
	cache    *cache
	interval time.Duration
	log      *zap.Logger
}

// run ships orders until ctx ends.
func (w *worker) run(ctx context.Context) {
	ticker := time.NewTicker(w.interval)
	defer ticker.Stop()
	for {
		if err := w.shipAll(ctx); err != nil && ctx.Err() == nil {
			w.log.Error("shipping orders; trying again", zap.Duration("in", w.interval), zap.Error(err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// shipAll ships what is to be shipped now.
func (w *worker) shipAll(ctx context.Context) error {
	if err := w.store.prepare(ctx); err != nil {
		return err
	}
	for {
		end := func() {}
		shipped, err := w.store.ship(ctx, batch, func(ids []int64) { end = w.cache.withhold(ids...) })
		end()
		if err != nil {
			return err
		}
		if shipped > 0 {
			w.log.Debug("shipped orders", zap.Int("orders", shipped))
		}
		if shipped < batch {
			return nil
		}
	}
}

// ship claims the oldest orders that are not shipped, limit at most, and ships
// them in the same transaction. It returns how many, and tells which ones before
// anybody else can see that they are shipped.
//
// The carrier is a table. One with an API of its own would be called by a
// second worker, for each row, with the row's id as the idempotency key.
func (s *store) ship(ctx context.Context, limit int, tell func(ids []int64)) (shipped int, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		ids, err := claim(ctx, tx, limit)
		if err != nil {
			return err
		}
		for _, id := range ids {
			_, err := tx.ExecContext(ctx, `INSERT INTO shipments (order_id, quantity, shipped)
				SELECT id, quantity, shipped FROM orders WHERE id = ?`, id)
			if err != nil {
				return err
			}
		}
		shipped = len(ids)
		tell(ids)
		return nil
	})
	return shipped, err
}

// claim marks orders as shipped and returns their ids.
func claim(ctx context.Context, tx *sql.Tx, limit int) (ids []int64, err error) {
	rows, err := tx.QueryContext(ctx, `UPDATE orders SET shipped = strftime('%Y-%m-%dT%H:%M:%fZ')
		WHERE id IN (SELECT id FROM orders WHERE shipped IS NULL ORDER BY id LIMIT ?) RETURNING id`, limit)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return ids, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
