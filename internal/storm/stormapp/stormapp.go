// Package stormapp is a Gin app with the paths that package storm asks for. It
// is registered as "storm", for Caddy, and runs without Caddy too.
//
// Its streams end with their connections. If the configuration has a duration
// named goodbye, they say goodbye when they have been draining for as long, as
// streams must that are to survive the end of their process.
package stormapp

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"
	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// Version takes the place of the first digit of greetings, so that programs
// built with different ones can be told apart. The linker sets it.
var Version = "0"

func init() {
	ginbridge.Register("storm", func(app *ginbridge.App, r *gin.Engine) error {
		var cfg struct {
			Greeting string         `json:"greeting"`
			Goodbye  caddy.Duration `json:"goodbye"`
		}
		if err := app.Config(&cfg); err != nil {
			return err
		}
		if cfg.Goodbye > 0 {
			r.Use(func(c *gin.Context) { c.Set(goodbyeKey, time.Duration(cfg.Goodbye)) })
		}
		Routes(r, cfg.Greeting)
		return nil
	})
}

// goodbyeKey is the key of the duration goodbye in a request's context.
const goodbyeKey = "goodbye"

// Routes adds the app to an engine.
func Routes(r gin.IRoutes, greeting string) {
	if i := strings.IndexByte(greeting, '0'); i >= 0 {
		greeting = greeting[:i] + Version + greeting[i+1:]
	}
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
	leaving, cancel := goodbye(c)
	defer cancel()
	for n := 1; ; n++ {
		c.SSEvent("tick", gin.H{"n": n})
		c.Writer.Flush()
		select {
		case <-ticker.C:
		case <-leaving.Done():
			c.SSEvent("draining", gin.H{})
			return
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
	leaving, cancel := goodbye(c)
	defer cancel()
	stop := context.AfterFunc(leaving, func() { _ = conn.Close(websocket.StatusGoingAway, "draining") })
	defer stop()                // before cancel, or it would say so
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

// goodbye returns a context that ends when the stream is to say goodbye. It must
// be cancelled when the stream has ended.
func goodbye(c *gin.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background()) // the stream may outlive its handler's
	after, draining := c.GetDuration(goodbyeKey), ginbridge.Draining(c)
	if after == 0 {
		return ctx, cancel
	}
	go func() {
		select {
		case <-draining:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(after):
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
