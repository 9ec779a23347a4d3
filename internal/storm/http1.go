package storm

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// conn1 speaks HTTP/1.1.
type conn1 struct {
	net.Conn
	in        *bufio.Reader
	ended     bool
	announced bool // the server has said that this was the last answer
}

func (l Load) dial1(ctx context.Context) (conn, error) {
	c, err := l.dialStream(ctx)
	if err != nil {
		return nil, err
	}
	return &conn1{Conn: c, in: bufio.NewReader(c)}, nil
}

// past makes reading and writing end at once.
var past = time.Unix(1, 0)

// RoundTrip implements conn.
func (c *conn1) RoundTrip(req *http.Request) (*http.Response, error) {
	stop := context.AfterFunc(req.Context(), func() { _ = c.SetDeadline(past) })
	resp, err := c.exchange(req)
	if err != nil {
		stop()
		c.ended = true
		return nil, err
	}
	resp.Body = &body1{ReadCloser: resp.Body, conn: c, stop: stop}
	c.ended, c.announced = resp.Close, resp.Close
	return resp, nil
}

func (c *conn1) exchange(req *http.Request) (*http.Response, error) {
	out := &errWriter{w: c.Conn}
	written := req.Write(out)
	resp, err := http.ReadResponse(c.in, req) // a server may answer before it has read all
	switch {
	case err != nil && out.err != nil:
		return nil, out.err
	case err != nil && written != nil:
		return nil, written
	}
	return resp, err
}

// errWriter keeps its error, which [http.Request.Write] hides.
type errWriter struct {
	w   io.Writer
	err error
}

// Write implements [io.Writer].
func (w *errWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

// body1 is the body of an answer.
type body1 struct {
	io.ReadCloser
	conn *conn1
	stop func() bool
	read bool // to its end
}

func (b *body1) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		b.read = true
	}
	return n, err
}

// Close ends the use of the connection by this request, and all use of it if
// something of the body is left.
func (b *body1) Close() error {
	if !b.stop() || !b.read {
		b.conn.ended = true
	}
	return nil
}

// wait implements conn: whatever comes in between answers is the end.
func (c *conn1) wait(ctx context.Context, d time.Duration) error {
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(past) })
	defer stop()
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	_, err := c.in.Peek(1)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.SetReadDeadline(time.Time{})
	}
	c.ended = true
	if err == nil {
		err = io.EOF // the server says why
	}
	return err
}

func (c *conn1) usable() bool { return !c.ended }

func (c *conn1) broken(err error) bool { return c.announced || isClosed(err) }
