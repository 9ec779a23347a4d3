package ginbridge

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gin-gonic/gin"
)

// NoTimeout lifts the timeout of the gin directive from this request. A
// handler that flushes or hijacks need not call it: those do it, too.
func NoTimeout(c *gin.Context) {
	if w := timeoutOf(c); w != nil {
		w.deadline.lift()
	}
}

// timeoutOf returns the timeoutWriter of the request of c, or nil if it has no
// timeout.
func timeoutOf(c *gin.Context) *timeoutWriter {
	if c.Request == nil {
		return nil
	}
	w, _ := c.Request.Context().Value(timeoutKey{}).(*timeoutWriter)
	return w
}

// serveWithin is ServeHTTP with a deadline. The handlers run in a goroutine of
// their own, so that the client is answered at the deadline even if they go
// on; what they use is not released before they return. They get a request of
// their own, too: Caddy goes on with r.
func (s *slot) serveWithin(d time.Duration, start time.Duration, w http.ResponseWriter, r *http.Request, path, rawPath string) error {
	vars := s.vars
	s.vars = maps.Clone(vars)
	deadline := newDeadline(r.Context(), d, s.vars)
	defer deadline.timer.Stop()
	tw := &timeoutWriter{beneath: w, header: w.Header().Clone(), deadline: deadline}
	deadline.writer = tw
	own := r.Clone(deadline)
	own.Trailer = r.Trailer // filled while the body is read
	if r.Body != nil {
		own.Body = &timeoutBody{ReadCloser: r.Body, w: tw}
	}

	done := make(chan error, 1)
	go func() {
		defer s.mount.leave()
		err := errAbort // stays if a handler calls runtime.Goexit
		defer func() { done <- err }()
		err = s.serve(tw, own, path, rawPath)
	}()

	var err error
	select {
	case err = <-done:
	case <-deadline.Done():
		if tw.expire() {
			return s.mount.timedOut(start, r, path, rawPath)
		}
		err = <-done // the answer has begun, or the client is gone
	}
	defer s.recycle()
	if err == nil && tw.expire() { // the handlers gave up without an answer
		return s.mount.timedOut(start, r, path, rawPath)
	}
	tw.sendTrailers()
	maps.Copy(vars, deadline.vars)
	s.count(r.Method, start, err)
	s.mount.observe(r.Context(), s.traced, s.c.FullPath(), s.c.Errors)
	return unlessAbort(err)
}

func (m *Mount) timedOut(start time.Duration, r *http.Request, path, rawPath string) error {
	route := m.router().find(r.Method, path, rawPath).route
	counted := m.counters.of(route, r.Method)
	counted.duration.Observe((clock() - start).Seconds())
	counted.answered(http.StatusServiceUnavailable)
	m.observe(r.Context(), true, route, nil)
	return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("the Gin app did not answer in time"))
}

// timeoutWriter stands between the app and Caddy's writer when a request has
// a deadline. mu says who may write: the handlers, until expire has taken the
// answer away from them.
type timeoutWriter struct {
	beneath  http.ResponseWriter
	deadline *deadlineContext

	header http.Header // belongs to the handlers; sent with the status

	mu      sync.Mutex
	wrote   bool
	expired atomic.Bool // set with mu held

	body sync.Mutex // held while the request body is being read; taken after mu
}

// expire takes the answer away from the handlers, if the deadline has passed.
// It is false if it has not, or if they have begun the answer.
func (w *timeoutWriter) expire() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrote || !w.deadline.passed() {
		return false
	}
	w.expired.Store(true)
	// Caddy and net/http go on with the body: nobody may be reading it
	if !w.body.TryLock() {
		rc := http.NewResponseController(w.beneath)
		_ = rc.SetReadDeadline(time.Unix(1, 0))
		w.body.Lock()
		_ = rc.SetReadDeadline(time.Time{})
	}
	w.body.Unlock()
	return true
}

// Header implements [http.ResponseWriter].
func (w *timeoutWriter) Header() http.Header { return w.header }

// begin locks mu for a write; it fails after expire.
func (w *timeoutWriter) begin(status int) error {
	w.mu.Lock()
	if w.wrote {
		return nil
	}
	// at the deadline a handler often returns with an answer that nobody
	// meant, such as an empty 200
	if w.expired.Load() || w.deadline.passed() {
		w.mu.Unlock()
		return http.ErrHandlerTimeout
	}
	header := w.beneath.Header()
	clear(header)
	maps.Copy(header, w.header)
	informational := status < 200 && status != http.StatusSwitchingProtocols
	w.wrote = !informational
	w.beneath.WriteHeader(status)
	return nil
}

// WriteHeader implements [http.ResponseWriter].
func (w *timeoutWriter) WriteHeader(status int) {
	if w.begin(status) == nil {
		w.mu.Unlock()
	}
}

// Write implements [http.ResponseWriter].
func (w *timeoutWriter) Write(b []byte) (int, error) {
	if err := w.begin(http.StatusOK); err != nil {
		return 0, err
	}
	w.mu.Unlock() // wrote keeps expire away
	return w.beneath.Write(b)
}

// ReadFrom implements [io.ReaderFrom].
func (w *timeoutWriter) ReadFrom(r io.Reader) (int64, error) {
	if err := w.begin(http.StatusOK); err != nil {
		return 0, err
	}
	w.mu.Unlock()
	return io.Copy(w.beneath, r)
}

// FlushError begins a stream, which has no deadline.
func (w *timeoutWriter) FlushError() error {
	if err := w.begin(http.StatusOK); err != nil {
		return err
	}
	w.mu.Unlock()
	w.deadline.lift()
	return http.NewResponseController(w.beneath).Flush()
}

// Hijack ends the deadline, too.
func (w *timeoutWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.expired.Load() {
		return nil, nil, http.ErrHandlerTimeout
	}
	conn, rw, err := http.NewResponseController(beneathRecorders(w.beneath)).Hijack()
	if err == nil {
		w.wrote = true
		w.deadline.lift()
	}
	return conn, rw, err
}

// control calls f unless the connection may serve another request already.
func (w *timeoutWriter) control(f func(*http.ResponseController) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.expired.Load() {
		return http.ErrHandlerTimeout
	}
	return f(http.NewResponseController(w.beneath))
}

// SetReadDeadline is for http.ResponseController.
func (w *timeoutWriter) SetReadDeadline(t time.Time) error {
	return w.control(func(rc *http.ResponseController) error { return rc.SetReadDeadline(t) })
}

// SetWriteDeadline is for http.ResponseController.
func (w *timeoutWriter) SetWriteDeadline(t time.Time) error {
	return w.control(func(rc *http.ResponseController) error { return rc.SetWriteDeadline(t) })
}

// EnableFullDuplex is for http.ResponseController.
func (w *timeoutWriter) EnableFullDuplex() error {
	return w.control((*http.ResponseController).EnableFullDuplex)
}

// unlessExpired calls f unless Caddy goes on with the request already.
func (w *timeoutWriter) unlessExpired(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.expired.Load() {
		f()
	}
}

// Push implements [http.Pusher].
func (w *timeoutWriter) Push(target string, opts *http.PushOptions) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p, ok := w.beneath.(http.Pusher); ok && !w.expired.Load() {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// sendTrailers passes on what the handlers added to the header after they
// sent it. They have returned.
func (w *timeoutWriter) sendTrailers() {
	if w.wrote {
		maps.Copy(w.beneath.Header(), w.header)
	}
}

// timeoutBody keeps a request body from being read after expire.
type timeoutBody struct {
	io.ReadCloser
	w *timeoutWriter
}

// Read implements [io.Reader].
func (b *timeoutBody) Read(p []byte) (int, error) {
	b.w.body.Lock()
	defer b.w.body.Unlock()
	if b.w.expired.Load() {
		return 0, http.ErrHandlerTimeout
	}
	return b.ReadCloser.Read(p)
}
