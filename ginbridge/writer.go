package ginbridge

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"unsafe"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// writer is the http.ResponseWriter that a Gin context writes to. Gin asserts
// the optional interfaces of net/http on it where Caddy's writers want to be
// unwrapped, so it has them all and finds what is beneath by
// http.ResponseController. It is used by one request at a time.
type writer struct {
	http.ResponseWriter // Caddy's
	slot                *slot
	push                bool // made for HTTP/2, see pushWriter
	wrote               bool // the final header, or some of the body
	flushed             bool
	hijacked            bool
	hijackFailed        bool // Gin believes the header written since
	fullDuplex          bool // the handler asked for it
	status              int  // of the final header, 0 before
	redirect            string
}

// connectionHeaders mean something to HTTP/1.1 only. HTTP/2 and HTTP/3 forbid
// them (RFC 9113, section 8.2.2), and clients take them for a broken answer;
// WebSocket libraries set them when they refuse to upgrade.
var connectionHeaders = [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade"}

func (w *writer) reset(beneath http.ResponseWriter) {
	w.ResponseWriter = beneath
	w.wrote, w.flushed, w.hijacked, w.hijackFailed, w.status, w.redirect = false, false, false, false, 0, ""
	w.fullDuplex = w.slot.mount.fullDuplex
}

// Unwrap is for http.ResponseController, which finds the deadlines there.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// EnableFullDuplex is for http.ResponseController.
func (w *writer) EnableFullDuplex() error {
	err := http.NewResponseController(w.ResponseWriter).EnableFullDuplex()
	w.fullDuplex = w.fullDuplex || err == nil
	return err
}

// WriteHeader sends the header. After Fail it does nothing: Gin always sends
// one when the handlers return, but the answer is Caddy's then.
func (w *writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.slot.failure != nil && !w.wrote {
		return
	}
	if status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect {
		w.redirect = w.slot.fixRedirect(w.Header())
	}
	if w.slot.multiplexed {
		for _, name := range connectionHeaders {
			delete(w.Header(), name)
		}
	}
	if w.slot.body.leavesTooMuch() && !w.fullDuplex && status != http.StatusSwitchingProtocols {
		refuseRest(w.ResponseWriter)
		w.Header().Set("Connection", "close") // as the writers beneath may have a header of their own
	}
	w.wrote, w.status = true, status
	w.ResponseWriter.WriteHeader(status)
}

// ready sees to the header before the body. It is false if the body is not
// to be written.
func (w *writer) ready() bool {
	if w.wrote {
		return true
	}
	if w.slot.failure != nil {
		return false
	}
	status := http.StatusOK
	if w.hijackFailed {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	return true
}

// Write writes to the body.
func (w *writer) Write(b []byte) (int, error) {
	if !w.ready() {
		return len(b), nil
	}
	if w.redirect != "" {
		_, err := io.WriteString(w.ResponseWriter, w.redirect)
		w.redirect = ""
		return len(b), err
	}
	return w.ResponseWriter.Write(b)
}

// WriteString writes to the body. None of Caddy's writers has a WriteString,
// and a copy of s would be garbage at once.
func (w *writer) WriteString(s string) (int, error) {
	return w.Write(unsafe.Slice(unsafe.StringData(s), len(s))) // writers must not change what they are given
}

// ReadFrom copies r to the body, by sendfile where that is possible.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok && w.redirect == "" && w.ready() {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{w}, r)
}

// Flush sends what is buffered.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError sends what is buffered and tells if it cannot.
func (w *writer) FlushError() error {
	if !w.ready() {
		return nil
	}
	err := http.NewResponseController(w.ResponseWriter).Flush()
	if err == nil && !w.flushed {
		w.flushed = true
		w.slot.flushed()
	}
	return err
}

// Hijack takes the connection over; the error is http.ErrNotSupported where
// the protocol has no connection to take, as HTTP/2 and HTTP/3.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(beneathRecorders(w.ResponseWriter)).Hijack()
	if err != nil {
		w.hijackFailed = true
		return nil, nil, err
	}
	w.hijacked = true
	tracked := w.slot.mount.trackHijack(conn)
	// whoever has rw has the connection: both its halves keep tracked alive
	rw.Writer.Reset(tracked) // it is empty
	if rw.Reader.Buffered() == 0 {
		rw.Reader.Reset(tracked)
	}
	return tracked, rw, nil
}

// beneathRecorders returns the writer beneath the last of Caddy's response
// recorders, such as that of the access log. A recorder counts the bytes of a
// hijacked connection without synchronisation, and reads the count when the
// handler returns, while the connection may live on.
func beneathRecorders(w http.ResponseWriter) http.ResponseWriter {
	beneath := w
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return beneath
		}
		_, recorder := w.(caddyhttp.ResponseRecorder)
		if w = u.Unwrap(); recorder {
			beneath = w
		}
	}
}

// CloseNotify returns a channel that gets a value when the client is gone or
// the request has ended. It may be called from any goroutine, also after the
// handler has returned.
func (w *writer) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(w.slot.ctx, func() { gone <- true })
	return gone
}

// finish sees to what is left when the handlers have returned.
func (w *writer) finish() {
	if w.hijackFailed && !w.wrote && w.slot.failure == nil {
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// pushWriter is a writer with server push, which Gin and apps take for usable
// when they see the method.
type pushWriter struct{ *writer }

// Push implements [http.Pusher].
func (w pushWriter) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// canPush tells whether the server's own writer can push. Caddy's wrappers
// all have the method.
func canPush(w http.ResponseWriter) bool {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			_, ok = w.(http.Pusher)
			return ok
		}
		w = u.Unwrap()
	}
}

// Interface guards
var (
	_ http.Flusher       = (*writer)(nil)
	_ http.Hijacker      = (*writer)(nil)
	_ io.ReaderFrom      = (*writer)(nil)
	_ io.StringWriter    = (*writer)(nil)
	_ http.Pusher        = pushWriter{}
	_ http.CloseNotifier = (*writer)(nil) //nolint:staticcheck // Gin requires it
)
