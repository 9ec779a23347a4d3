// Package hello is the demonstration app of caddy-gin: one Gin app with a
// route for each thing that a net/http server can do, from plain JSON to
// WebSockets, so that what works in Gin can be seen to work inside Caddy.
// Importing the package registers the app, which a Caddyfile then mounts as
// "gin hello"; its index page lists the routes.
//
// It is also the test subject of caddy-gin. Some routes and some fields of
// [Config] exist only to be provoked: they panic, break off half-way, refuse
// to build, or count what is running. Do not put it on a public server as it
// is.
package hello

import (
	"errors"
	"fmt"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() { ginbridge.Register("hello", build) }

// Config is the configuration of the app. [DefaultConfig] has the values of
// the fields that are left out.
type Config struct {
	// Greeting is what /greeting and the pages say.
	Greeting string `json:"greeting"`
	// Tags are shown by /config and on the index page.
	Tags []string `json:"tags"`
	// Workers is the number of background goroutines, each of which adds one
	// to a counter every Interval.
	Workers int `json:"workers"`
	// Interval is the time between two events of /events, unless the request
	// asks for another, and between two ticks of a worker.
	Interval time.Duration `json:"interval"`
	// Limits bounds what clients may send.
	Limits Limits `json:"limits"`
	// SharedKey names the visit counters of /counter. Configurations with the
	// same key have the same counters.
	SharedKey string `json:"shared_key"`
	// FailBuild makes the app fail to build, with an error.
	FailBuild bool `json:"fail_build"`
	// PanicBuild makes the app fail to build, with a panic.
	PanicBuild bool `json:"panic_build"`
}

// Limits bounds what clients may send.
type Limits struct {
	// MaxUpload is the size in bytes of the largest request body that /upload
	// takes; 0 means any size.
	MaxUpload int64 `json:"max_upload"`
}

// The bounds of what a configuration or a request may ask for.
const (
	minInterval = time.Millisecond
	maxInterval = time.Hour
	maxWorkers  = 64
)

// DefaultConfig returns the configuration of an app that is given none.
func DefaultConfig() Config {
	return Config{
		Greeting:  "Hello from Gin",
		Tags:      []string{},
		Workers:   1,
		Interval:  time.Second,
		SharedKey: "visits",
	}
}

func (cfg Config) validate() error {
	switch {
	case cfg.Workers < 0 || cfg.Workers > maxWorkers:
		return fmt.Errorf("workers is %d, must be 0 to %d", cfg.Workers, maxWorkers)
	case cfg.Interval < minInterval || cfg.Interval > maxInterval:
		return fmt.Errorf("interval is %v, must be %v to %v", cfg.Interval, minInterval, maxInterval)
	case cfg.Limits.MaxUpload < 0:
		return fmt.Errorf("limits.max_upload is %d, must not be negative", cfg.Limits.MaxUpload)
	case cfg.SharedKey == "":
		return errors.New("shared_key is empty")
	}
	return nil
}

// build makes the app for one load of a configuration.
func build(app *ginbridge.App, r *gin.Engine) error {
	cfg := DefaultConfig()
	if err := app.Config(&cfg); err != nil {
		return err
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	visits, err := ginbridge.Shared(app, cfg.SharedKey, openStore)
	if err != nil {
		return err
	}
	s := newServer(cfg, visits)
	routes(r, s)
	for range cfg.Workers {
		app.Go(s.work)
	}
	// Failing comes last, so that there is something to be undone.
	if cfg.FailBuild {
		return errors.New("fail_build is set")
	}
	if cfg.PanicBuild {
		panic("panic_build is set")
	}
	app.Logger().Debug("built", zap.String("greeting", cfg.Greeting), zap.Int("workers", cfg.Workers))
	return nil
}
