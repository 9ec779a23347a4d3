package hello

import (
	"context"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gin-gonic/gin"
	gorilla "github.com/gorilla/websocket"
	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

const (
	maxMessage   = 1 << 20
	writeTimeout = 10 * time.Second
	// closeTimeout is how long a client may take to answer that it is going.
	closeTimeout = 5 * time.Second
	// goodbye is why the server closes. Clients are expected to connect again,
	// to the next configuration.
	goodbye = "configuration replaced"
)

// wsCoder echoes the messages of a WebSocket, by means of coder/websocket.
func (s *server) wsCoder(c *gin.Context) {
	conn, err := coder.Accept(c.Writer, c.Request, nil)
	if err != nil { // and Accept has told the client
		ginbridge.Logger(c).Debug("no WebSocket", zap.Error(err))
		return
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxMessage)

	ended := make(chan struct{})
	defer close(ended)
	draining := ginbridge.Draining(c)
	go func() {
		select {
		case <-draining:
			_ = conn.Close(coder.StatusGoingAway, goodbye)
		case <-ended:
		}
	}()

	// The request's context is of no use once its connection is hijacked.
	ctx := context.Background()
	for {
		kind, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if err := writeCoder(ctx, conn, kind, message); err != nil {
			return
		}
	}
}

func writeCoder(ctx context.Context, conn *coder.Conn, kind coder.MessageType, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return conn.Write(ctx, kind, message)
}

// wsGorilla does the same by means of gorilla/websocket.
func (s *server) wsGorilla(c *gin.Context) {
	if conn := upgrade(c); conn != nil {
		echoGorilla(conn, ginbridge.Draining(c))
	}
}

// wsDetached returns while the WebSocket is open, as handlers do that hand it
// to a hub. Gin uses c for other requests from then on, so that the goroutine
// must not know it.
func (s *server) wsDetached(c *gin.Context) {
	if conn := upgrade(c); conn != nil {
		go echoGorilla(conn, ginbridge.Draining(c))
	}
}

// upgrade returns nil if there is no WebSocket to be had; the client has been
// told then.
func upgrade(c *gin.Context) *gorilla.Conn {
	upgrader := gorilla.Upgrader{HandshakeTimeout: writeTimeout}
	conn, err := upgrader.Upgrade(c.Writer, c.Request, nil)
	if err != nil {
		ginbridge.Logger(c).Debug("no WebSocket", zap.Error(err))
		return nil
	}
	conn.SetReadLimit(maxMessage)
	return conn
}

func echoGorilla(conn *gorilla.Conn, draining <-chan struct{}) {
	defer func() { _ = conn.Close() }()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-draining:
			deadline := time.Now().Add(closeTimeout)
			message := gorilla.FormatCloseMessage(gorilla.CloseGoingAway, goodbye)
			_ = conn.WriteControl(gorilla.CloseMessage, message, deadline)
			// The loop below ends when the client answers, or at the deadline.
			// Only the bare connection's deadline may be set from here.
			_ = conn.NetConn().SetReadDeadline(deadline)
		case <-ended:
		}
	}()

	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}
