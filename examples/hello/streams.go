package hello

import (
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

const (
	maxSlow  = time.Minute
	maxBytes = 1 << 30
)

// echo sends the request body back while it is still coming in.
func (s *server) echo(c *gin.Context) {
	rc := http.NewResponseController(c.Writer)
	// Without full duplex the answer is the same for bodies that fit into the
	// server's buffers, so that an error is no reason to give up.
	duplex := rc.EnableFullDuplex() == nil

	contentType := c.GetHeader("Content-Type")
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	c.Header("Content-Type", contentType)
	c.Header("X-Content-Type-Options", "nosniff")
	if duplex && c.GetHeader("Expect") == "" {
		// A client may wait for the header before it sends anything. One that
		// expects a 100 Continue, however, would take this for a refusal.
		c.Writer.Flush()
	}

	buf := make([]byte, 32<<10)
	for {
		n, err := c.Request.Body.Read(buf)
		if n > 0 {
			if _, err := c.Writer.Write(buf[:n]); err != nil {
				_ = c.Error(err) // the client is gone
				return
			}
			c.Writer.Flush()
		}
		switch {
		case err == io.EOF:
			return
		case err != nil && c.Writer.Written():
			// What has been sent must not pass for the whole.
			panic(http.ErrAbortHandler)
		case err != nil:
			ginbridge.Fail(c, bodyErrorStatus(err), err)
			return
		}
	}
}

// bodyErrorStatus returns the status for an error of reading a request body.
func bodyErrorStatus(err error) int {
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// tick is the data of an event.
type tick struct {
	N     int64     `json:"n"`
	Ticks int64     `json:"ticks"` // of the background goroutines
	Time  time.Time `json:"time"`
}

func (s *server) events(c *gin.Context) {
	n, err := queryInt(c, "n", 10, 0, math.MaxInt64)
	if err != nil {
		badRequest(c, err)
		return
	}
	interval, err := queryDuration(c, "interval", s.cfg.Interval, minInterval, maxInterval)
	if err != nil {
		badRequest(c, err)
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	draining, gone := ginbridge.Draining(c), c.Request.Context().Done()

	var sent int64
	c.Stream(func(io.Writer) bool {
		if sent > 0 { // the first event comes at once
			select {
			case <-ticker.C:
			case <-gone:
				return false
			case <-draining:
				// An EventSource connects again, to the next configuration.
				c.SSEvent("draining", "reconnect")
				return false
			}
		}
		sent++
		c.SSEvent("tick", tick{N: sent, Ticks: s.ticks.Load(), Time: time.Now()})
		return sent != n
	})
}

// slow answers late. It does not care about draining: a request that is being
// served when the configuration is replaced is to be answered by the old one.
func (s *server) slow(c *gin.Context) {
	d, err := queryDuration(c, "d", 500*time.Millisecond, 0, maxSlow)
	if err != nil {
		badRequest(c, err)
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		c.JSON(http.StatusOK, gin.H{"greeting": s.cfg.Greeting, "d": d.String()})
	case <-c.Request.Context().Done():
		c.AbortWithStatus(http.StatusServiceUnavailable)
	}
}

// bytes sends n bytes, of which the one at offset i is i modulo 251. That is
// a prime, so that a piece that is lost or sent twice shows.
func (s *server) bytes(c *gin.Context) {
	n, err := queryInt(c, "n", 1024, 0, maxBytes)
	if err != nil {
		badRequest(c, err)
		return
	}
	block := make([]byte, min(n, 251*256))
	for i := range block {
		block[i] = byte(i % 251)
	}
	c.Header("Content-Type", "application/octet-stream")
	c.Header("Content-Length", strconv.FormatInt(n, 10))
	c.Status(http.StatusOK)
	for n > 0 {
		written, err := c.Writer.Write(block[:min(n, int64(len(block)))])
		if err != nil {
			_ = c.Error(err) // the client is gone
			return
		}
		n -= int64(written)
	}
}
