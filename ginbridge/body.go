package ginbridge

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// discardLimit is how much of a request body net/http reads and throws away
// before it sends a header, so that the client is not kept from reading it
// (maxPostHandlerReadBytes in net/http/server.go).
const discardLimit = 256 << 10

// requestBody is the body of an HTTP/1 request. It counts what has been read,
// for a decision that net/http takes by the type of its own body, which Caddy
// has wrapped: without it, net/http would wait for a body that the client
// does not send before it is told to (Expect: 100-continue), and throw away
// the next 256 KiB of one that the handler goes on reading while it answers.
type requestBody struct {
	io.ReadCloser
	left   atomic.Int64 // negative if the length is not known
	ended  atomic.Bool
	expect bool
}

// trackBody puts a requestBody into r where it makes a difference.
func trackBody(r *http.Request) *requestBody {
	if r.ProtoMajor != 1 || r.ContentLength == 0 || r.Body == nil {
		return nil
	}
	b := &requestBody{ReadCloser: r.Body, expect: strings.EqualFold(r.Header.Get("Expect"), "100-continue")}
	b.left.Store(r.ContentLength)
	r.Body = b
	return b
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left.Add(-int64(n))
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// leavesTooMuch tells whether the connection is to be closed after an answer
// that begins now, as net/http would decide.
func (b *requestBody) leavesTooMuch() bool {
	return b != nil && !b.ended.Load() && (b.expect || b.left.Load() >= discardLimit)
}

// refuseRest has net/http close the connection after the answer, but not
// before the client had a moment to read it: closing it with data unread
// resets it. net/http does so by itself where it finds that much of its own
// body unread, and otherwise where a [http.MaxBytesReader] of its own writer
// has met its limit.
func refuseRest(w http.ResponseWriter) {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = wrapper.Unwrap()
	}
	limited := http.MaxBytesReader(w, io.NopCloser(strings.NewReader("x")), 0)
	_, _ = limited.Read(make([]byte, 1))
}
