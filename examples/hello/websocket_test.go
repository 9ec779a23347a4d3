package hello

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
)

func TestWebSocketEcho(t *testing.T) {
	url := serve(t, nil)
	for _, path := range []string{"/ws", "/ws/gorilla", "/ws/detached"} {
		t.Run(path, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			conn, _, err := coder.Dial(ctx, strings.Replace(url, "http", "ws", 1)+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.CloseNow() }()
			conn.SetReadLimit(maxMessage)
			for kind, message := range map[coder.MessageType][]byte{
				coder.MessageText:   []byte("hello"),
				coder.MessageBinary: bytes.Repeat([]byte{0, 1, 2, 3}, 50_000),
			} {
				if err := conn.Write(ctx, kind, message); err != nil {
					t.Fatal(err)
				}
				gotKind, got, err := conn.Read(ctx)
				if err != nil || gotKind != kind || !bytes.Equal(got, message) {
					t.Fatalf("got %v with %d bytes, %v; want %v with %d", gotKind, len(got), err, kind, len(message))
				}
			}
			if err := conn.Close(coder.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNoWebSocket(t *testing.T) {
	url := serve(t, nil)
	for path, want := range map[string]int{"/ws": 426, "/ws/gorilla": 400, "/ws/detached": 400} {
		if status, _, _ := get(t, url+path); status != want {
			t.Errorf("%s without a handshake: got status %d, want %d", path, status, want)
		}
	}
}
