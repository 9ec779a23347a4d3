package testapps

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() {
	ginbridge.Register("opt-routes", optRoutes)
	ginbridge.Register("opt-hosts", optHosts)
	ginbridge.Register("opt-context", optContext)
	ginbridge.Register("opt-upload", optUpload)
	ginbridge.Register("opt-template", optTemplate)
	ginbridge.Register("opt-any", optAny)
}

// optEcho answers with what Gin made of the path, and with Gin's mode.
func optEcho(c *gin.Context) {
	params := make(map[string]string)
	for _, p := range c.Params {
		params[p.Key] = p.Value
	}
	c.JSON(http.StatusOK, gin.H{"route": c.FullPath(), "params": params, "path": c.Request.URL.Path, "mode": gin.Mode()})
}

// optRoutes has a route of each kind, and a middleware that leaves traces.
func optRoutes(app *ginbridge.App, r *gin.Engine) error {
	var cfg struct {
		NoRoute bool `json:"no_route"`
	}
	if err := app.Config(&cfg); err != nil {
		return err
	}
	var ran atomic.Int64
	r.Use(func(c *gin.Context) {
		ran.Add(1)
		c.Header("X-Opt-Middleware", "ran")
	})
	for _, path := range []string{"/ping", "/slash/", "/Fixed/Path", "/users/:id", "/files/*path", `/v1/items\:batch`, `/v1/items\:batch/:n`} {
		r.GET(path, optEcho)
	}
	r.POST("/form", optEcho)
	r.PUT("/form", optEcho)
	r.GET("/ran", func(c *gin.Context) { c.String(http.StatusOK, "%d", ran.Load()) })
	if cfg.NoRoute {
		r.NoRoute(func(c *gin.Context) { c.String(http.StatusNotFound, "nothing here, says the app") })
	}
	return nil
}

// optHosts has routes whose first segment is anything: what an open redirect
// needs.
func optHosts(_ *ginbridge.App, r *gin.Engine) error {
	r.GET("/:host/ping", optEcho)
	r.GET("/:host/dir/", optEcho)
	r.GET("/:host/:user/ping", optEcho)
	r.GET("/", optEcho)
	return nil
}

var optWaits struct{ begun, cancelled atomic.Int64 }

// optContext uses a gin.Context as a context.Context. It counts for the whole
// process: a site on two ports has two engines.
func optContext(_ *ginbridge.App, r *gin.Engine) error {
	wait := func(ctx context.Context) {
		optWaits.begun.Add(1)
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				optWaits.cancelled.Add(1)
			}
		case <-time.After(5 * time.Minute):
		}
	}
	r.GET("/wait", func(c *gin.Context) { wait(c) })
	r.GET("/waits", func(c *gin.Context) {
		c.String(http.StatusOK, "%d begun, %d cancelled", optWaits.begun.Load(), optWaits.cancelled.Load())
	})
	r.GET("/context", func(c *gin.Context) {
		replacer, _ := c.Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		c.String(http.StatusOK, "done %t, values %t", c.Done() != nil, replacer != nil)
	})
	return nil
}

// optUpload takes a form by Gin's own means, and says where the file was.
func optUpload(_ *ginbridge.App, r *gin.Engine) error {
	upload := func(c *gin.Context) {
		header, err := c.FormFile("file")
		if err != nil {
			c.String(http.StatusBadRequest, "%v", err)
			return
		}
		file, err := header.Open()
		if err != nil {
			c.String(http.StatusInternalServerError, "%v", err)
			return
		}
		defer func() { _ = file.Close() }()
		n, err := io.Copy(io.Discard, file)
		_, onDisk := file.(*os.File)
		spilled, _ := filepath.Glob(filepath.Join(os.TempDir(), "multipart-*"))
		c.JSON(http.StatusOK, gin.H{"size": n, "complete": err == nil, "on_disk": onDisk, "spilled": len(spilled)})
	}
	r.POST("/upload", upload)
	r.POST("/panic", upload, func(*gin.Context) { panic("after the upload") })
	r.POST("/replaced", func(c *gin.Context) { // as tracing middleware does
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), optKey{}, 1))
	}, upload)
	r.POST("/replaced-and-restored", func(c *gin.Context) {
		before := c.Request.Context()
		defer func() { c.Request = c.Request.WithContext(before) }()
		c.Request = c.Request.WithContext(context.WithValue(c.Request.Context(), optKey{}, 1))
		c.Next()
	}, upload)
	return nil
}

type optKey struct{}

func optTemplate(_ *ginbridge.App, r *gin.Engine) error {
	r.GET("/page", func(c *gin.Context) { c.HTML(http.StatusOK, "page.html", gin.H{"Name": "<you>"}) })
	return nil
}

// optAny shows a configuration of any shape.
func optAny(app *ginbridge.App, r *gin.Engine) error {
	var cfg map[string]any
	if err := app.Config(&cfg); err != nil {
		return err
	}
	r.GET("/config", func(c *gin.Context) { c.JSON(http.StatusOK, cfg) })
	return nil
}
