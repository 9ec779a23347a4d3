package testapps

import (
	"fmt"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// ManyEnv is the variable of the environment with which the apps many-0 to
// many-49 are there, with 200 routes each.
const ManyEnv = "CADDY_GIN_TEST_MANY"

func init() {
	if os.Getenv(ManyEnv) == "" {
		return
	}
	for i := range 50 {
		ginbridge.Register(fmt.Sprintf("many-%d", i), buildMany)
	}
}

func buildMany(_ *ginbridge.App, r *gin.Engine) error {
	for i := range 200 {
		r.GET(fmt.Sprintf("/things/%d/:id", i), func(c *gin.Context) { c.Status(http.StatusNoContent) })
	}
	return nil
}
