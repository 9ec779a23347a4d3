package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// A client that sends more than net/http throws away, and that reads late,
// got a reset instead of the refusal: the server closed with data unread.
func TestRefusedUploadIsAnsweredNotReset(t *testing.T) {
	t.Parallel()
	const size = 300 << 10
	s := testcaddy.Start(t, optSite("gin hello {\nconfig {\nlimits {\nmax_upload 1000\n}\n}\n}"))
	optParallel(32, func(int) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.HTTP(""), "http://"))
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		_, _ = fmt.Fprintf(conn, "POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"+
			"Content-Length: %d\r\n\r\n--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n", size)
		// most clients do not look for an answer when they cannot write
		_ = conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)) // blocked for lack of room is no reset
		for range size / 4096 {
			if _, err := conn.Write(make([]byte, 4096)); err != nil {
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the server did not wait for the client to read: %v", err)
				}
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("the refusal did not arrive: %v", err)
			return
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
			t.Errorf("got %d %q and %v, close %t", resp.StatusCode, body, err, resp.Close)
		}
	})
}
