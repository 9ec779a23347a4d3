package testapps

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/ginbridge"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

func init() {
	if fault.Name != fault.WithoutApp {
		ginbridge.Register("upgrade-main", buildUpgrade)
	}
}

// upgradeSites is how many sites have the app.
const upgradeSites = 3

// upgradeBuilds counts how often this process has built the app.
var upgradeBuilds atomic.Int32

// buildUpgrade builds an app that tells which process answers, and does wrong
// what package fault says.
func buildUpgrade(app *ginbridge.App, r *gin.Engine) error {
	n := upgradeBuilds.Add(1)
	second := n > upgradeSites && fault.Successor
	fault.Slow()
	switch fault.Name {
	case fault.ExitInBuild:
		println("fault: ending in build")
		os.Exit(7)
	case fault.ErrorInBuild:
		return errors.New("fault: this version wants another configuration")
	case fault.PanicInBuild:
		panic("fault: panic in build")
	case fault.HangInBuild:
		println("fault: hanging in build")
		time.Sleep(time.Hour)
	case fault.ExitInSecond:
		if second {
			println("fault: ending in the second build")
			os.Exit(7)
		}
	case fault.HangInSecond:
		if second {
			println("fault: hanging in the second build")
			time.Sleep(time.Hour)
		}
	case fault.ExitWhenReady:
		if second {
			app.Go(func(context.Context) {
				println("fault: ending when ready")
				os.Exit(7)
			})
		}
	case fault.TakenPort:
		if _, err := net.Listen("tcp", fault.Argument); err != nil {
			return err
		}
	}
	app.Go(func(ctx context.Context) { <-ctx.Done() })
	r.GET("/process", func(c *gin.Context) {
		if fault.Name == fault.ExitWhenServing {
			println("fault: ending in a request")
			os.Exit(7)
		}
		c.JSON(http.StatusOK, gin.H{"pid": os.Getpid(), "version": fault.Version})
	})
	r.POST("/echo", func(c *gin.Context) {
		body, err := io.ReadAll(c.Request.Body)
		if err != nil {
			_ = c.AbortWithError(http.StatusBadRequest, err)
			return
		}
		c.Header("Version", fault.Version)
		c.Data(http.StatusOK, "application/octet-stream", body)
	})
	r.GET("/slow", func(c *gin.Context) {
		d, _ := time.ParseDuration(c.Query("d"))
		if name := c.Query("name"); name != "" {
			println("fault: serving", name)
		}
		if c.Query("flush") != "" { // the client wants to know that it has begun
			c.Writer.Flush()
		}
		time.Sleep(d)
		c.String(http.StatusOK, fault.Version)
	})
	r.GET("/ws", func(c *gin.Context) {
		draining := ginbridge.Draining(c)
		lifeUpgrade(c, func(conn *websocket.Conn) { upgradeEcho(conn, draining, c.Query("stay") != "") })
	})
	r.GET("/descriptors", func(c *gin.Context) { // of a process that the app starts
		out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
		if err != nil {
			_ = c.AbortWithError(http.StatusInternalServerError, err)
			return
		}
		c.String(http.StatusOK, "%s", out)
	})
	return nil
}

// upgradeEcho sends messages back behind the version. When the configuration
// drains it says so once, and closes unless it is to stay.
func upgradeEcho(conn *websocket.Conn, draining <-chan struct{}, stay bool) {
	defer func() { _ = conn.Close() }()
	var mu sync.Mutex // one writer at a time
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-draining:
			mu.Lock()
			defer mu.Unlock()
			_ = conn.WriteMessage(websocket.TextMessage, []byte("draining"))
			if !stay {
				_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""), time.Now().Add(time.Second))
			}
		case <-ended:
		}
	}()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		mu.Lock()
		err = conn.WriteMessage(kind, append([]byte(fault.Version+" "), message...))
		mu.Unlock()
		if err != nil {
			return
		}
	}
}
