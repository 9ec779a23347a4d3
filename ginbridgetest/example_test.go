package ginbridgetest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
	"github.com/caddy-gin/caddy-gin/ginbridgetest"
)

func init() {
	ginbridge.Register("greeter", func(app *ginbridge.App, r *gin.Engine) error {
		var cfg struct {
			Greeting string `json:"greeting"`
		}
		if err := app.Config(&cfg); err != nil {
			return err
		}
		if cfg.Greeting == "" {
			return errors.New("greeting is empty")
		}
		r.GET("/greet/:name", func(c *gin.Context) {
			c.String(200, "%s, %s", cfg.Greeting, c.Param("name"))
		})
		return nil
	})
}

func Example() {
	t := newT() // stands for the *testing.T of a test
	defer func() { fmt.Println(t.end()) }()

	app := ginbridgetest.New(t, "greeter", map[string]any{"greeting": "Hello"})
	get := func(path string) string {
		w := httptest.NewRecorder()
		app.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Body.String()
	}
	fmt.Println(get("/greet/you"))

	app.Reload(map[string]any{"greeting": "Welcome"})
	fmt.Println(get("/greet/you"))

	err := app.TryReload(map[string]any{"greeting": ""})
	fmt.Println(err != nil, get("/greet/you"))

	// Output:
	// Hello, you
	// Welcome, you
	// true Welcome, you
	// []
}
