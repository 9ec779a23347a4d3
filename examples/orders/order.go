package orders

import (
	"context"
	"database/sql"
	"errors"
)

// order is an order as clients see it.
type order struct {
	ID       int64  `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Created  string `json:"created"`           // RFC 3339
	Shipped  string `json:"shipped,omitempty"` // RFC 3339; empty until it is
}

// columns are those that scan wants.
const columns = `id, item, quantity, created, coalesce(shipped, '')`

func scan(row interface{ Scan(...any) error }) (o order, err error) {
	err = row.Scan(&o.ID, &o.Item, &o.Quantity, &o.Created, &o.Shipped)
	if errors.Is(err, sql.ErrNoRows) {
		err = errNotFound
	}
	return o, err
}

var (
	errNotFound = errors.New("no such order")
	errShipped  = errors.New("the order has been shipped")
	errKeyTaken = errors.New("the idempotency key was used for another order")
)

// request is what a client asks for.
type request struct {
	Item     string `json:"item" binding:"required,max=200"`
	Quantity int    `json:"quantity" binding:"required,min=1,max=1000000"`
}

// create makes an order, unless it was made already: the same key gives the
// same order, and created is false. The same key with another request is
// errKeyTaken.
func (s *store) create(ctx context.Context, key string, want request) (o order, created bool, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		var before request
		var id int64
		err := tx.QueryRowContext(ctx, `SELECT order_id, item, quantity FROM requests WHERE key = ?`, key).
			Scan(&id, &before.Item, &before.Quantity)
		switch {
		case err == nil && before != want:
			return errKeyTaken
		case err == nil:
			o, err = scan(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM orders WHERE id = ?`, id))
			return err
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		created = true
		o, err = scan(tx.QueryRowContext(ctx,
			`INSERT INTO orders (item, quantity) VALUES (?, ?) RETURNING `+columns, want.Item, want.Quantity))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO requests (key, order_id, item, quantity) VALUES (?, ?, ?, ?)`,
			key, o.ID, want.Item, want.Quantity)
		return err
	})
	return o, created, err
}

// order returns the order with the given id, or errNotFound.
func (s *store) order(ctx context.Context, id int64) (order, error) {
	return scan(s.reader.QueryRowContext(ctx, `SELECT `+columns+` FROM orders WHERE id = ?`, id))
}

// change sets the quantity of an order. It is errShipped if that is too late.
func (s *store) change(ctx context.Context, id int64, quantity int) (o order, err error) {
	err = s.update(ctx, func(tx *sql.Tx) error {
		o, err = scan(tx.QueryRowContext(ctx, `SELECT `+columns+` FROM orders WHERE id = ?`, id))
		if err != nil {
			return err
		}
		if o.Shipped != "" {
			return errShipped
		}
		o.Quantity = quantity
		_, err = tx.ExecContext(ctx, `UPDATE orders SET quantity = ? WHERE id = ?`, quantity, id)
		return err
	})
	return o, err
}

// summary is what there is to say about all orders.
type summary struct {
	Orders  int     `json:"orders"`
	Shipped int     `json:"shipped"`
	Latest  []order `json:"latest"` // the latest first
}

// list returns the summary with the latest orders, limit at most.
func (s *store) list(ctx context.Context, limit int) (sum summary, err error) {
	// one transaction, so that the numbers fit together
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return sum, err
	}
	defer func() { _ = tx.Rollback() }()
	if err := tx.QueryRowContext(ctx, `SELECT count(*), count(shipped) FROM orders`).Scan(&sum.Orders, &sum.Shipped); err != nil {
		return sum, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT `+columns+` FROM orders ORDER BY id DESC LIMIT ?`, limit)
	if err != nil {
		return sum, err
	}
	defer func() { _ = rows.Close() }()
	sum.Latest = []order{}
	for rows.Next() {
		o, err := scan(rows)
		if err != nil {
			return sum, err
		}
		sum.Latest = append(sum.Latest, o)
	}
	return sum, rows.Err()
}
