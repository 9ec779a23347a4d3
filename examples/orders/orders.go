// Package orders is an example of a Gin app that keeps its data in a database:
// orders are taken, changed and shipped, and none is lost or shipped twice
// whatever happens to the configuration or the process. Importing the package
// registers the app, which a Caddyfile then mounts as "gin orders".
//
// The database is SQLite, built in. It and the cache above it are shared
// values: they survive reloads, and they are closed after the last request of
// the last configuration that has them.
package orders

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() { ginbridge.Register("orders", build) }

// Config is the configuration of the app.
type Config struct {
	// Database is the path of the database's file. The folder must exist, the
	// file need not. One process only may have the file: others would not
	// learn that a cached order has changed.
	Database string `json:"database"`
	// ShipInterval is the time between two looks for orders to ship; a second
	// if it is left out.
	ShipInterval time.Duration `json:"ship_interval"`
}

// The bounds of Config.ShipInterval.
const (
	minShipInterval = 10 * time.Millisecond
	maxShipInterval = time.Hour
)

// check returns an error if cfg makes no sense. It spells the database's path
// in the one way by which all configurations find the same shared values.
func (cfg *Config) check() error {
	if cfg.Database == "" {
		return errors.New("database is not set: want the path of a file")
	}
	if cfg.ShipInterval < minShipInterval || cfg.ShipInterval > maxShipInterval {
		return fmt.Errorf("ship_interval is %v, must be %v to %v", cfg.ShipInterval, minShipInterval, maxShipInterval)
	}
	path, err := filepath.Abs(cfg.Database)
	if err != nil {
		return fmt.Errorf("database: %w", err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("folder of database %q: %w", cfg.Database, err)
	}
	cfg.Database = filepath.Join(dir, filepath.Base(path))
	return nil
}

// build makes the app for one load of a configuration. It leaves no trace if
// the configuration is only validated: the store opens its file at the first
// use.
func build(app *ginbridge.App, r *gin.Engine) error {
	cfg := Config{ShipInterval: time.Second}
	if err := app.Config(&cfg); err != nil {
		return err
	}
	if err := cfg.check(); err != nil {
		return err
	}
	// a value is found by its key and its type, so that one key does for both
	key := "orders:" + cfg.Database
	db, err := ginbridge.Shared(app, key, func() (*store, error) { return newStore(cfg.Database) })
	if err != nil {
		return err
	}
	cached, err := ginbridge.Shared(app, key, func() (*cache, error) { return newCache(maxCached), nil })
	if err != nil {
		return err
	}
	s := &server{store: db, cache: cached}
	s.routes(r)
	w := &worker{store: db, cache: cached, interval: cfg.ShipInterval, log: app.Logger()}
	app.Go(w.run)
	return nil
}
