package testapps

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() { ginbridge.Register("opt-timeout", optTimeout) }

// optTimeout has handlers that outlive a deadline in all ways. Those that
// ignore it go on until /release; /results tells what they have seen.
func optTimeout(_ *ginbridge.App, r *gin.Engine) error {
	var mu sync.Mutex
	results := make(map[string]string)
	note := func(c *gin.Context, text string) {
		mu.Lock()
		defer mu.Unlock()
		results[c.Query("id")] = text
	}
	release := make(chan struct{})
	var once sync.Once
	late := func(after func(*gin.Context)) gin.HandlerFunc {
		return func(c *gin.Context) {
			note(c, "waiting")
			select {
			case <-release:
			case <-time.After(5 * time.Minute):
			}
			after(c)
		}
	}
	r.GET("/late-write", late(func(c *gin.Context) {
		c.Header("X-Late", "yes")
		c.String(http.StatusOK, "too late")
		note(c, fmt.Sprint("released, context: ", c.Request.Context().Err()))
	}))
	r.GET("/late-panic", late(func(c *gin.Context) {
		note(c, "panicking")
		panic("too late")
	}))
	r.POST("/release", func(c *gin.Context) {
		once.Do(func() { close(release) })
		c.Status(http.StatusNoContent)
	})
	r.GET("/results", func(c *gin.Context) {
		mu.Lock()
		defer mu.Unlock()
		c.JSON(http.StatusOK, results)
	})
	r.GET("/derived", func(c *gin.Context) {
		ctx, cancel := context.WithCancel(c.Request.Context())
		defer cancel()
		<-ctx.Done()
		note(c, fmt.Sprint(ctx.Err(), ", cause ", context.Cause(ctx), ", gin.Context ", c.Err()))
	})
	r.POST("/read", func(c *gin.Context) {
		n, err := io.Copy(io.Discard, c.Request.Body)
		note(c, fmt.Sprint(n > 0, " ", err))
		c.String(http.StatusOK, "%d", n)
	})
	// busy goes on using the request as handlers do that know of no deadline
	r.GET("/busy", func(c *gin.Context) {
		deadline, _ := c.Request.Context().Deadline()
		for i := 0; time.Now().Before(deadline.Add(200 * time.Millisecond)); i++ {
			c.Request.Header.Set("X-Busy", strconv.Itoa(i))
			c.Request.Header.Del("X-Unwanted")
			c.Writer.Header().Set("X-Busy", strconv.Itoa(i))
			c.Request.URL.RawQuery = "i=" + strconv.Itoa(i)
			ginbridge.Logger(c).Debug("busy")
			_ = ginbridge.Placeholder(c, "http.request.uuid")
			_ = ginbridge.Scheme(c) + c.ClientIP() + ginbridge.ClientIP(c)
			time.Sleep(time.Millisecond) // a pace, not a wait
		}
	})
	outlive := func(c *gin.Context, until time.Time) string {
		time.Sleep(time.Until(until) + 200*time.Millisecond) // the deadline passes
		return fmt.Sprint("context: ", c.Request.Context().Err())
	}
	r.GET("/stream", func(c *gin.Context) {
		deadline, _ := c.Request.Context().Deadline()
		c.String(http.StatusOK, "begin, ")
		c.Writer.Flush()
		c.String(http.StatusOK, "%s", outlive(c, deadline))
	})
	r.GET("/hijack", func(c *gin.Context) {
		deadline, _ := c.Request.Context().Deadline()
		conn, rw, err := c.Writer.Hijack()
		if err != nil {
			c.String(http.StatusInternalServerError, "%v", err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + outlive(c, deadline))
		_ = rw.Flush()
	})
	r.GET("/exempt", func(c *gin.Context) {
		deadline, _ := c.Request.Context().Deadline()
		ginbridge.NoTimeout(c)
		text := outlive(c, deadline)
		_, has := c.Request.Context().Deadline()
		c.String(http.StatusOK, "%s, deadline %t", text, has)
	})
	r.GET("/sleep", func(c *gin.Context) { // with answers around the deadline
		d, _ := time.ParseDuration(c.Query("d"))
		time.Sleep(d)
		c.String(http.StatusOK, "slept")
	})
	return nil
}
