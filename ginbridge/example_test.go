package ginbridge_test

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// catalog stands for something that is expensive to open.
type catalog struct{}

func (*catalog) Close() error                          { return nil }
func (*catalog) refresh(context.Context)               {}
func (*catalog) find(id string) (name string, ok bool) { return "order " + id, true }

// An app with configuration, a value that survives reloads, and a goroutine
// that runs while its configuration is live.
func ExampleRegister() {
	ginbridge.Register("example-orders", func(app *ginbridge.App, r *gin.Engine) error {
		cfg := struct {
			File    string        `json:"file"`
			Refresh time.Duration `json:"refresh"`
		}{Refresh: time.Minute}
		if err := app.Config(&cfg); err != nil {
			return err
		}
		orders, err := ginbridge.Shared(app, "orders:"+cfg.File, func() (*catalog, error) {
			return new(catalog), nil
		})
		if err != nil {
			return err
		}
		app.Go(func(ctx context.Context) {
			ticks := time.NewTicker(cfg.Refresh)
			defer ticks.Stop()
			for {
				select {
				case <-ticks.C:
					orders.refresh(ctx)
				case <-ctx.Done():
					return
				}
			}
		})
		r.GET("/orders/:id", func(c *gin.Context) {
			name, ok := orders.find(c.Param("id"))
			if !ok {
				ginbridge.Fail(c, http.StatusNotFound, nil)
				return
			}
			c.String(http.StatusOK, name)
		})
		return nil
	})
}

// A stream that ends when its configuration is replaced, so that its client
// comes back to the new one.
func ExampleDraining() {
	events := make(chan string)
	ginbridge.Register("example-stream", func(_ *ginbridge.App, r *gin.Engine) error {
		r.GET("/events", func(c *gin.Context) {
			c.Stream(func(io.Writer) bool {
				select {
				case e := <-events:
					c.SSEvent("message", e)
					return true
				case <-ginbridge.Draining(c):
					return false
				case <-c.Request.Context().Done():
					return false
				}
			})
		})
		return nil
	})
}
