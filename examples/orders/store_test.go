package orders

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func count(t *testing.T, s *store, query string) (n int) {
	t.Helper()
	if err := s.reader.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// SQLite ignores options that it does not know.
func TestOptionsHold(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, tt := range []struct {
		db           *sql.DB
		pragma, want string
	}{
		{s.writer, "journal_mode", "wal"},
		{s.writer, "synchronous", "2"},
		{s.writer, "foreign_keys", "1"},
		{s.writer, "busy_timeout", "5000"},
		{s.reader, "journal_mode", "wal"},
		{s.reader, "busy_timeout", "5000"},
	} {
		var got string
		if err := tt.db.QueryRowContext(t.Context(), "PRAGMA "+tt.pragma).Scan(&got); err != nil || got != tt.want {
			t.Errorf("%s is %q, %v; want %q", tt.pragma, got, err, tt.want)
		}
	}
	if _, err := s.writer.ExecContext(t.Context(), `INSERT INTO shipments (order_id, quantity, shipped) VALUES (99, 1, '')`); err == nil {
		t.Error("an order was shipped that does not exist")
	}
	if _, err := s.reader.ExecContext(t.Context(), `DELETE FROM orders`); err == nil {
		t.Error("the reader writes")
	}
}

func TestPathsThatLookLikeOptions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%20c#d&e")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "orders.db")); err != nil {
		t.Error(err)
	}
}

func TestNothingIsMadeBeforeTheFirstUse(t *testing.T) {
	dir := t.TempDir()
	s, err := newStore(filepath.Join(dir, "orders.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("there is %v", files)
	}
}

func TestPrepareTriesAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "later")
	s, err := newStore(filepath.Join(dir, "orders.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if err := s.prepare(t.Context()); err == nil {
		t.Fatal("prepared without a folder")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.prepare(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestOrdersOutliveTheStore(t *testing.T) {
	dir := t.TempDir()
	var made order
	for i := range 3 {
		s, err := newStore(filepath.Join(dir, "orders.db"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		o, created, err := s.create(t.Context(), "key", request{"pen", 2})
		if err != nil || created != (i == 0) || i > 0 && o != made {
			t.Errorf("got %+v, %t, %v after %+v", o, created, err, made)
		}
		made = o
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "orders.db-wal")); err == nil {
			t.Error("the log is still there after Close")
		}
	}
}

func TestSameKeyAtTheSameTime(t *testing.T) {
	s := openStore(t, t.TempDir())
	var created atomic.Int64
	var clients sync.WaitGroup
	for i := range 50 {
		clients.Go(func() {
			_, isNew, err := s.create(t.Context(), fmt.Sprint("key", i%5), request{fmt.Sprint("pen", i%5), 2})
			if err != nil {
				t.Error(err)
			}
			if isNew {
				created.Add(1)
			}
		})
	}
	clients.Wait()
	if n := count(t, s, `SELECT count(*) FROM orders`); n != 5 || created.Load() != 5 {
		t.Errorf("%d orders for 5 keys, %d said to be created", n, created.Load())
	}
}

// A key without an order, or the other way round, would be a lost order.
func TestCancelledCreateLeavesNothing(t *testing.T) {
	s := openStore(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := s.update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO orders (item, quantity) VALUES ('pen', 1)`); err != nil {
			t.Error(err)
		}
		cancel()
		_, err := tx.ExecContext(ctx, `INSERT INTO requests (key, order_id, item, quantity) VALUES ('key', 1, 'pen', 1)`)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, created, err := s.create(t.Context(), "key", request{"pen", 1}); !created || err != nil {
		t.Errorf("got %t, %v", created, err)
	}
	if n := count(t, s, `SELECT count(*) FROM orders`); n != 1 {
		t.Errorf("%d orders", n)
	}
}
