package testapps

import (
	"context"
	"errors"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() { ginbridge.Register("admin-main", buildAdmin) }

// adminConfig is the configuration of the app admin-main.
type adminConfig struct {
	Value string `json:"value"`
	Token string `json:"token" gin:"secret"`

	// Unready is a file: the app is not ready while it is there.
	Unready string `json:"unready"`
}

func buildAdmin(app *ginbridge.App, r *gin.Engine) error {
	var config adminConfig
	if err := app.Config(&config); err != nil {
		return err
	}
	app.Ready(func(context.Context) error {
		if _, err := os.Stat(config.Unready); err == nil {
			return errors.New("the database does not answer")
		}
		return nil
	})
	app.Go(func(ctx context.Context) { <-ctx.Done() })
	if _, err := ginbridge.Shared(app, "admin:"+config.Token, func() (*adminConfig, error) { return &config, nil }); err != nil {
		return err
	}
	guarded := r.Group("/guarded", func(*gin.Context) {}, func(*gin.Context) {})
	guarded.GET("/items/:id", adminItem)
	guarded.DELETE("/items/:id", adminItem)
	r.GET("/value", func(c *gin.Context) { c.String(http.StatusOK, config.Value) })
	return nil
}

func adminItem(c *gin.Context) {
	if c.Param("id") == "broken" {
		ginbridge.Fail(c, http.StatusBadGateway, errors.New("broken"))
		return
	}
	c.String(http.StatusOK, c.Param("id"))
}
