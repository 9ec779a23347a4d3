package testapps

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// The app that the examples of the README call "shop".
func init() {
	ginbridge.Register("shop", func(_ *ginbridge.App, r *gin.Engine) error {
		r.GET("/", func(c *gin.Context) { c.String(http.StatusOK, "shop") })
		return nil
	})
}
