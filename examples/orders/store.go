package orders

import (
	"context"
	"database/sql"
	_ "embed" // for schema
	"errors"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

//go:embed schema.sql
var schema string

// store is the database. Clients of one store wait for each other to write,
// and read while somebody writes. It is safe for concurrent use.
type store struct {
	writer *sql.DB // one connection, as SQLite has one writer at a time
	reader *sql.DB

	mu    sync.Mutex
	ready bool // the tables are there
}

// newStore returns the store in the file at the given path, which is opened
// or made by prepare.
func newStore(path string) (*store, error) {
	writer, err := sql.Open("sqlite", dsn(path, url.Values{
		"_journal_mode": {"WAL"},       // readers and the writer do not wait for each other
		"_synchronous":  {"FULL"},      // what is committed outlives a power failure
		"_foreign_keys": {"on"},        // SQLite checks them only if it is told to
		"_txlock":       {"immediate"}, // a transaction waits at its begin, and does not fail half-way
		"_busy_timeout": {"5000"},      // milliseconds; for other processes, such as a backup
	}))
	if err != nil {
		return nil, err
	}
	writer.SetMaxOpenConns(1)
	reader, err := sql.Open("sqlite", dsn(path, url.Values{
		"mode":          {"ro"},
		"_busy_timeout": {"5000"},
	}))
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	reader.SetMaxOpenConns(readers)
	reader.SetMaxIdleConns(readers)
	return &store{writer: writer, reader: reader}, nil
}

// dsn returns the data source name of a file.
func dsn(path string, options url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/orders.db
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}
	return u.String()
}

// prepare makes the tables if they are not there. It must have succeeded
// before any other method is called.
func (s *store) prepare(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return nil
	}
	err := s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, schema)
		return err
	})
	s.ready = err == nil
	return err
}

// Close implements [io.Closer].
func (s *store) Close() error {
	// the writer last: it moves what is in the log into the database
	return errors.Join(s.reader.Close(), s.writer.Close())
}

// update runs do in a transaction. If it returns an error, that is do's, and
// nothing has changed, or that of the commit, of which nobody knows.
func (s *store) update(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}
