package hello

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

var errAsked = errors.New("the request asked for it")

func (s *server) panic(*gin.Context) { panic(errAsked) }

// fail leaves the answer to Caddy's handle_errors.
func (s *server) fail(c *gin.Context) {
	status, err := queryInt(c, "status", http.StatusServiceUnavailable, 400, 599)
	if err != nil {
		badRequest(c, err)
		return
	}
	ginbridge.Fail(c, int(status), errAsked)
}

// abort promises more than it sends, and breaks off in the way net/http
// documents for that.
func (s *server) abort(c *gin.Context) {
	half := strings.Repeat("half ", 100)
	c.Header("Content-Type", "text/plain; charset=utf-8")
	c.Header("Content-Length", strconv.Itoa(2*len(half)))
	c.Status(http.StatusOK)
	_, _ = c.Writer.WriteString(half)
	c.Writer.Flush()
	panic(http.ErrAbortHandler)
}

func (s *server) hints(c *gin.Context) {
	link := "<" + ginbridge.Prefix(c) + "/static/style.css>; rel=preload; as=style"
	if err := ginbridge.EarlyHints(c, link); err != nil {
		// A hint is never needed.
		ginbridge.Logger(c).Debug("no early hints", zap.Error(err))
	}
	c.String(http.StatusOK, "early hints came first\n")
}

// hijack takes the connection over and speaks HTTP by itself.
func (s *server) hijack(c *gin.Context) {
	conn, rw, err := c.Writer.Hijack()
	if err != nil {
		c.String(http.StatusInternalServerError, "%v\n", err)
		return
	}
	defer func() { _ = conn.Close() }()
	const body = "hijacked\n"
	_, _ = rw.WriteString("HTTP/1.1 200 OK\r\n" +
		"Content-Type: text/plain\r\n" +
		"Content-Length: " + strconv.Itoa(len(body)) + "\r\n" +
		"Connection: close\r\n\r\n" + body)
	_ = rw.Flush()
}
