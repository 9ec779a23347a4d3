package testapps

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() { ginbridge.Register("stream-main", buildStreams) }

// streamTick is the time between two events.
const streamTick = 10 * time.Millisecond

// streams is the app stream-main in one configuration, whose value all its
// streams tell. They tell of draining, too, but go on.
type streams struct {
	Value string `json:"value"`
}

func buildStreams(app *ginbridge.App, r *gin.Engine) error {
	s := new(streams)
	if err := app.Config(s); err != nil {
		return err
	}
	app.OnRelease(func() error {
		app.Logger().Info("released", zap.String("value", s.Value))
		return nil
	})
	r.GET("/ws", func(c *gin.Context) {
		draining := ginbridge.Draining(c)
		lifeUpgrade(c, func(conn *websocket.Conn) { s.echo(conn, draining) })
	})
	r.GET("/events", func(c *gin.Context) { s.events(c, c.Request.Context().Done()) })
	r.GET("/stubborn", func(c *gin.Context) { s.events(c, nil) })
	r.Handle(http.MethodConnect, "/tunnel", s.tunnel)
	r.GET("/download/:id", s.download)
	r.POST("/upload", s.upload)
	r.POST("/let/:id", func(c *gin.Context) {
		if !lifeLet(c.Param("id")) {
			c.Status(http.StatusNotFound)
		}
	})
	return nil
}

// echo sends messages back behind the value.
func (s *streams) echo(conn *websocket.Conn, draining <-chan struct{}) {
	defer func() { _ = conn.Close() }()
	ended := make(chan struct{})
	defer close(ended)
	var writing sync.Mutex
	write := func(text string) error {
		writing.Lock()
		defer writing.Unlock()
		return conn.WriteMessage(websocket.TextMessage, []byte(text))
	}
	go func() {
		select {
		case <-draining:
			_ = write("draining")
		case <-ended:
		}
	}()
	for {
		_, message, err := conn.ReadMessage()
		if err != nil || write(s.Value+":"+string(message)) != nil {
			return
		}
	}
}

// events sends the value again and again, until it is told to end or cannot.
func (s *streams) events(c *gin.Context, end <-chan struct{}) {
	c.Header("Content-Type", "text/event-stream")
	draining := ginbridge.Draining(c)
	event := s.Value
	for {
		if _, err := fmt.Fprintf(c.Writer, "data:%s\n\n", event); err != nil {
			return
		}
		c.Writer.Flush()
		event = s.Value
		select {
		case <-end:
			return
		case <-draining:
			event, draining = "draining", nil
		case <-time.After(streamTick):
		}
	}
}

// tunnel sends back what it gets.
func (s *streams) tunnel(c *gin.Context) {
	c.Status(http.StatusOK)
	c.Writer.Flush()
	buf := make([]byte, 1024)
	for {
		n, err := c.Request.Body.Read(buf)
		if _, failed := c.Writer.Write(buf[:n]); err != nil || failed != nil {
			return
		}
		c.Writer.Flush()
	}
}

// download sends a part, and the other one when /let says so.
func (s *streams) download(c *gin.Context) {
	held := make(chan struct{})
	lifeHolds.Store(c.Param("id"), held)
	half := strings.Repeat("x", 1000)
	c.Header("Content-Type", "application/octet-stream")
	_, _ = c.Writer.WriteString(half)
	c.Writer.Flush()
	select {
	case <-held:
	case <-c.Request.Context().Done():
		return
	}
	_, _ = c.Writer.WriteString(half)
}

// upload counts the bytes of the body.
func (s *streams) upload(c *gin.Context) {
	n, err := io.Copy(io.Discard, c.Request.Body)
	if err != nil {
		ginbridge.Fail(c, http.StatusBadRequest, err)
		return
	}
	c.String(http.StatusOK, s.Value+":"+strconv.FormatInt(n, 10))
}
