package hello

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// stats counts over the whole process, across all configurations. It is the
// only mutable package state: tests of reloads need to see that what one
// configuration started has ended by the time only another is left.
var stats struct {
	workers atomic.Int64 // background goroutines that are running
	starts  atomic.Int64 // background goroutines ever started
	opened  atomic.Int64 // shared stores opened
	closed  atomic.Int64 // shared stores closed
}

// work is a background goroutine of the app. It stands for the queue consumer
// or the cleanup job that a real app would run.
func (s *server) work(ctx context.Context) {
	stats.starts.Add(1)
	stats.workers.Add(1)
	defer stats.workers.Add(-1)

	ticker := time.NewTicker(s.cfg.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.ticks.Add(1)
		}
	}
}

func (s *server) goroutines(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{
		"workers": stats.workers.Load(),
		"starts":  stats.starts.Load(),
	})
}

func (s *server) shared(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{
		"opened": stats.opened.Load(),
		"closed": stats.closed.Load(),
	})
}
