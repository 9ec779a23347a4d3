package storm

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// talker is a client with a WebSocket.
type talker struct {
	client
	socket *websocket.Conn
	sent   int
}

// step sends a message and waits for the answer.
func (t *talker) step(ctx context.Context) {
	before := time.Now()
	var err error
	if t.socket == nil {
		err = t.dial(ctx)
	}
	if err == nil {
		err = t.talk(ctx)
	}
	switch {
	case err == nil:
		t.answered(time.Since(before))
		sleep(ctx, time.Duration(t.rand.Int64N(int64(5*time.Millisecond))))
		return
	case websocket.CloseStatus(err) == websocket.StatusGoingAway:
		t.pool.result.count(&t.pool.result.Goodbyes)
	default:
		if isClosed(err) && ctx.Err() == nil {
			t.pool.result.count(&t.pool.result.ClosedByServer)
		}
		t.fail(ctx, err)
	}
	t.close()
}

func (t *talker) close() {
	if t.socket != nil {
		_ = t.socket.CloseNow()
		t.socket = nil
	}
}

func (t *talker) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	path := "/ws"
	if t.load.Path != "" {
		path = t.load.Path
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := t.load.dialStream(ctx) // with TLS, if there is to be any
		if err == nil {
			t.pool.result.count(&t.pool.result.Opened)
		}
		return c, err
	}}
	options := &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}}
	socket, resp, err := websocket.Dial(ctx, "ws://"+host+path, options) //nolint:bodyclose // Dial has closed it
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return &statusError{resp.Status, nil}
		}
		return err
	}
	t.socket = socket
	return nil
}

func (t *talker) talk(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	t.sent++
	message := fmt.Appendf(nil, "message %d", t.sent)
	if err := t.socket.Write(ctx, websocket.MessageText, message); err != nil {
		return err
	}
	_, answer, err := t.socket.Read(ctx)
	if err != nil {
		return err
	}
	if !bytes.HasSuffix(answer, message) {
		return wrongBody("got %.40q, want %q", answer, message)
	}
	return nil
}
