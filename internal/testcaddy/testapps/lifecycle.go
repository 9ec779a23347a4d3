package testapps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() {
	ginbridge.Register("life-main", buildLife)
	ginbridge.RegisterEngine("life-same", func() (*gin.Engine, error) { return lifeSame, nil })
	ginbridge.RegisterEngine("life-once", func() (*gin.Engine, error) {
		lifeOnce.GET("/ping", func(c *gin.Context) { c.String(http.StatusOK, "pong") })
		return lifeOnce, nil
	})
	ginbridge.RegisterEngine("life-default", func() (*gin.Engine, error) { return lifeEngine(gin.Default()), nil })
}

// lifeConfig is the configuration of life-main.
type lifeConfig struct {
	Value      string        `json:"value"`       // tells the configurations apart
	Dir        string        `json:"dir"`         // where the book is kept
	Key        string        `json:"key"`         // of a shared value; none if empty
	Other      bool          `json:"other"`       // the shared value has another type
	Open       string        `json:"open"`        // "error" or "panic": opening the shared value fails
	Fail       string        `json:"fail"`        // "error" or "panic": the build fails at its end
	Tasks      int           `json:"tasks"`       // background goroutines
	Linger     time.Duration `json:"linger"`      // how long these go on when cancelled
	BadRelease bool          `json:"bad_release"` // some functions of OnRelease fail
}

// life is the app life-main in one configuration. It notes in a book, a file
// that outlives the process, what is opened, started, stopped and released,
// and its handlers notice when what they use has been released.
type life struct {
	cfg      lifeConfig
	released atomic.Bool
	shared   *lifeShared
	running  atomic.Int64 // background goroutines of this configuration
}

// lifeSets counts the configurations that have background goroutines.
var lifeSets struct{ live, most atomic.Int64 }

var lifeBook sync.Mutex

// lifeHolds has a channel for each request of /hold that waits for /let.
var lifeHolds sync.Map

func (l *life) note(format string, args ...any) {
	lifeBook.Lock()
	defer lifeBook.Unlock()
	f, err := os.OpenFile(filepath.Join(l.cfg.Dir, "book"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer func() { _ = f.Close() }()
	if _, err = fmt.Fprintf(f, format+"\n", args...); err != nil {
		panic(err)
	}
}

func buildLife(app *ginbridge.App, r *gin.Engine) error {
	l := new(life)
	if err := app.Config(&l.cfg); err != nil {
		return err
	}
	app.OnRelease(func() error {
		l.released.Store(true)
		l.note("release %s last", l.cfg.Value)
		return nil
	})
	if l.cfg.BadRelease {
		app.OnRelease(func() error { panic("release panics for " + l.cfg.Value) })
		app.OnRelease(func() error { return errors.New("release fails for " + l.cfg.Value) })
	}
	app.OnRelease(func() error {
		l.note("release %s first", l.cfg.Value)
		return nil
	})
	if err := l.open(app); err != nil {
		return err
	}
	for range l.cfg.Tasks {
		app.Go(l.task)
	}
	l.routes(r)
	switch l.cfg.Fail {
	case "error":
		return errors.New("the build fails for " + l.cfg.Value)
	case "panic":
		panic("the build panics for " + l.cfg.Value)
	}
	return nil
}

// lifeShared is the shared value.
type lifeShared struct {
	life   *life // that opened it
	closed atomic.Bool
}

// lifeOther is a shared value of another type.
type lifeOther struct{ *lifeShared }

// Close implements io.Closer.
func (s *lifeShared) Close() error {
	s.closed.Store(true)
	s.life.note("close %s", s.life.cfg.Key)
	return nil
}

func (l *life) open(app *ginbridge.App) (err error) {
	if l.cfg.Key == "" {
		return nil
	}
	opened := func() (*lifeShared, error) {
		switch l.cfg.Open {
		case "error":
			return nil, errors.New("cannot open for " + l.cfg.Value)
		case "panic":
			panic("opening panics for " + l.cfg.Value)
		}
		l.note("open %s", l.cfg.Key)
		return &lifeShared{life: l}, nil
	}
	if l.cfg.Other {
		other, err := ginbridge.Shared(app, l.cfg.Key, func() (lifeOther, error) {
			s, err := opened()
			return lifeOther{s}, err
		})
		l.shared = other.lifeShared
		return err
	}
	l.shared, err = ginbridge.Shared(app, l.cfg.Key, opened)
	return err
}

func (l *life) task(ctx context.Context) {
	if l.running.Add(1) == 1 {
		n := lifeSets.live.Add(1)
		for most := lifeSets.most.Load(); n > most && !lifeSets.most.CompareAndSwap(most, n); {
			most = lifeSets.most.Load()
		}
	}
	l.note("start %s", l.cfg.Value)
	<-ctx.Done()
	time.Sleep(l.cfg.Linger) // work that cannot be cancelled
	if l.check() != nil {
		l.note("error: %s released under its goroutine", l.cfg.Value)
	}
	l.note("stop %s", l.cfg.Value)
	if l.running.Add(-1) == 0 {
		lifeSets.live.Add(-1)
	}
}

// check returns an error if something that the configuration uses is closed.
func (l *life) check() error {
	if l.released.Load() || l.shared != nil && l.shared.closed.Load() {
		return errors.New("used after release: " + l.cfg.Value)
	}
	return nil
}

// answer is the value of the configuration, or what is wrong.
func (l *life) answer() (int, string) {
	if err := l.check(); err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	return http.StatusOK, l.cfg.Value
}

func (l *life) routes(r *gin.Engine) {
	r.GET("/value", func(c *gin.Context) { c.String(l.answer()) })
	r.GET("/sets", func(c *gin.Context) {
		c.JSON(http.StatusOK, gin.H{"live": lifeSets.live.Load(), "most": lifeSets.most.Load()})
	})
	r.GET("/gc", func(*gin.Context) { runtime.GC() })
	r.GET("/twice", func(c *gin.Context) { // Gin remarks on this in debug mode
		c.String(http.StatusOK, "once")
		c.Status(http.StatusTeapot)
	})
	r.GET("/hold/:id", l.hold)
	r.POST("/let/:id", func(c *gin.Context) {
		if !lifeLet(c.Param("id")) {
			c.Status(http.StatusNotFound)
		}
	})
	r.GET("/draining", func(c *gin.Context) {
		_, value := l.answer()
		_, _ = c.Writer.WriteString(value + "\n")
		c.Writer.Flush()
		select {
		case <-ginbridge.Draining(c):
			_, _ = c.Writer.WriteString("draining\n")
		case <-c.Request.Context().Done():
		}
	})
	r.GET("/ws", func(c *gin.Context) { lifeUpgrade(c, l.echo) })
	r.GET("/detached", func(c *gin.Context) {
		lifeUpgrade(c, func(conn *websocket.Conn) { go l.echo(conn) })
	})
	r.GET("/forget", func(c *gin.Context) {
		_, rw, err := c.Writer.Hijack()
		if err != nil {
			ginbridge.Fail(c, http.StatusInternalServerError, err)
			return
		}
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nforgotten")
		_ = rw.Flush()
	})
}

// hold answers with the value at once and, when /let says so, with the value
// again, unless that has been released.
func (l *life) hold(c *gin.Context) {
	held := make(chan struct{})
	lifeHolds.Store(c.Param("id"), held)
	_, value := l.answer()
	_, _ = c.Writer.WriteString(value + "\n")
	c.Writer.Flush()
	select {
	case <-held:
	case <-c.Request.Context().Done(): // a test that failed
		return
	}
	_, value = l.answer()
	_, _ = c.Writer.WriteString(value + "\n")
}

// lifeLet ends a request of /hold.
func lifeLet(id string) bool {
	held, ok := lifeHolds.LoadAndDelete(id)
	if ok {
		close(held.(chan struct{}))
	}
	return ok
}

var lifeUpgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func lifeUpgrade(c *gin.Context, serve func(*websocket.Conn)) {
	if conn, err := lifeUpgrader.Upgrade(c.Writer, c.Request, nil); err == nil { // else the client knows
		serve(conn)
	}
}

// echo sends messages back behind the value. It does not care about draining.
// "let ID" does what /let does, for when Caddy accepts no more connections.
func (l *life) echo(conn *websocket.Conn) {
	defer func() { _ = conn.Close() }()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if id, ok := strings.CutPrefix(string(message), "let "); ok {
			lifeLet(id)
		}
		_, value := l.answer()
		if err := conn.WriteMessage(kind, append([]byte(value+":"), message...)); err != nil {
			return
		}
	}
}

// lifeSame is what life-same returns each time, and lifeOnce what life-once
// adds its routes to each time.
var (
	lifeSame = lifeEngine(gin.New())
	lifeOnce = gin.New()
)

// lifeEngine adds routes of an app that knows nothing of Caddy.
func lifeEngine(r *gin.Engine) *gin.Engine {
	r.GET("/ping", func(c *gin.Context) { c.String(http.StatusOK, "pong") })
	r.GET("/ip", func(c *gin.Context) { c.String(http.StatusOK, c.ClientIP()) })
	r.GET("/colon\\:id/:id", func(c *gin.Context) { c.String(http.StatusOK, c.Param("id")) })
	r.GET("/panic", func(*gin.Context) { panic("life panics") })
	r.GET("/abort", func(c *gin.Context) {
		_, _ = c.Writer.WriteString("half")
		c.Writer.Flush()
		panic(http.ErrAbortHandler)
	})
	return r
}
