// Package stormapp is a Gin app with the paths that package storm asks for. It
// is registered as "storm", for Caddy, and runs without Caddy too. Its streams
// do not care about draining: they end with their connections.
package stormapp

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() {
	ginbridge.Register("storm", func(app *ginbridge.App, r *gin.Engine) error {
		var cfg struct {
			Greeting string `json:"greeting"`
		}
		if err := app.Config(&cfg); err != nil {
			return err
		}
		Routes(r, cfg.Greeting)
		return nil
	})
}

// Routes adds the app to an engine.
func Routes(r gin.IRoutes, greeting string) {
	r.GET("/greeting", func(c *gin.Context) { c.String(http.StatusOK, "%s", greeting) })
	r.POST("/echo", echo)
	r.GET("/bytes", bytes)
	r.GET("/events", events)
	r.GET("/ws", talk)
}

func echo(c *gin.Context) {
	body, err := io.ReadAll(c.Request.Body)
	if err != nil {
		c.String(http.StatusBadRequest, "%v", err)
		return
	}
	c.Data(http.StatusOK, "application/octet-stream", body)
}

func bytes(c *gin.Context) {
	n, err := strconv.Atoi(c.Query("n"))
	if err != nil || n < 0 || n > 1<<30 {
		c.Status(http.StatusBadRequest)
		return
	}
	c.Header("Content-Type", "application/octet-stream")
	c.Header("Content-Length", strconv.Itoa(n))
	block := make([]byte, min(n, 251*256))
	for i := range block {
		block[i] = byte(i % 251)
	}
	for n > 0 {
		written, err := c.Writer.Write(block[:min(n, len(block))])
		if err != nil {
			return // the client is gone
		}
		n -= written
	}
}

func events(c *gin.Context) {
	interval, err := time.ParseDuration(c.Query("interval"))
	if err != nil || interval <= 0 {
		c.Status(http.StatusBadRequest)
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		c.SSEvent("tick", gin.H{"n": n})
		c.Writer.Flush()
		select {
		case <-ticker.C:
		case <-c.Request.Context().Done():
			return
		}
	}
}

func talk(c *gin.Context) {
	conn, err := websocket.Accept(c.Writer, c.Request, nil)
	if err != nil {
		return // and the client has been told
	}
	defer func() { _ = conn.CloseNow() }()
	ctx := context.Background() // that of the request is of no use once its connection is hijacked
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if conn.Write(ctx, kind, message) != nil {
			return
		}
	}
}
