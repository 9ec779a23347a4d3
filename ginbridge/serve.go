package ginbridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gin-gonic/gin"
	"go.uber.org/zap"
)

// errGone answers the rare request that arrives when its configuration has
// been released already.
var errGone = errors.New("the configuration of this request is no longer loaded")

// errOutside answers a request outside the base path.
var errOutside = errors.New("the request is outside the base path of the Gin app")

// slotVar is the variable of Caddy's by which the request helpers find the
// slot: that of the last app which got the request.
const slotVar = "http.gin"

// slot is what serving one request takes: a Gin context, the writer it is
// bound to, and some memory. Slots are pooled, except those whose connection
// was hijacked or whose handler panicked or outlived its request: somebody
// may go on using them.
type slot struct {
	mount  *Mount
	writer writer
	c      *gin.Context
	fresh  gin.Context // c as it was made

	ctx         context.Context // of the request as Caddy made it
	vars        map[string]any  // Caddy\'s variables of the request
	multiplexed bool            // over HTTP/2 or HTTP/3
	traced      bool            // there may be a span
	prefix      string          // stripped before the app saw the path
	path        string          // what the app was given, against changes by Gin
	rawPath     string
	body        *requestBody            // nil unless it matters how much of it is read
	failure     error                   // set by Fail
	answer      *answer                 // nil unless it is a stream
	streamed    bool                    // it was one
	cancel      context.CancelCauseFunc // of ctx; nil without Options.StreamCloseDelay
	poisoned    bool                    // a handler panicked
	ip          []string                // header value of the last client; never changed, only replaced
	counter     *routeStats             // of the last request: it often is the same route
}

// String is for an operator who writes {http.vars.http.gin}.
func (s *slot) String() string { return s.mount.app.name }

func newSlot(m *Mount, push bool) *slot {
	s := &slot{mount: m}
	s.writer.slot, s.writer.push = s, push
	var w http.ResponseWriter = &s.writer
	if push {
		w = pushWriter{&s.writer}
	}
	s.c = gin.CreateTestContextOnly(w, m.engine)
	s.c.Params = gin.Params{} // as after the first use, not nil
	restore(&s.fresh, s.c)
	return s
}

// Handles tells whether the app has an answer for the request: a route, or a
// redirect to one. It runs none of the app's handlers and middleware.
func (m *Mount) Handles(r *http.Request) bool {
	path, rawPath, inside := m.strip(r.URL)
	return inside && m.router().find(r.Method, path, rawPath).handled()
}

// ServeHTTP has the app answer a request that Caddy's HTTP server prepared.
// The error, if any, is what Caddy is to answer with; nothing has been
// written then.
func (m *Mount) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	if !m.enter() {
		return caddyhttp.Error(http.StatusServiceUnavailable, errGone)
	}
	start := clock()
	if r.ProtoMajor == 3 && !m.gen.http3.Load() {
		m.gen.http3.Store(true)
	}
	path, rawPath, inside := m.strip(r.URL)
	if !inside {
		m.leave()
		return caddyhttp.Error(http.StatusNotFound, errOutside)
	}
	s := m.slot(w, r)
	s.vars, _ = r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	again := false
	if known := len(s.vars); s.vars != nil {
		s.vars[slotVar] = s
		again = len(s.vars) == known
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		s.addPlaceholders(r.Context(), repl, again, r.Method, path, rawPath)
	}
	if m.opts.StreamCloseDelay > 0 {
		var ctx context.Context
		ctx, s.cancel = context.WithCancelCause(r.Context())
		defer s.cancel(nil)
		r = r.WithContext(ctx)
	}
	if m.opts.Timeout > 0 {
		return s.serveWithin(m.opts.Timeout, start, w, r, path, rawPath)
	}
	defer m.leave()
	err := s.serve(w, r, path, rawPath)
	s.count(r.Method, start, err)
	m.observe(s.ctx, s.traced, s.c.FullPath(), s.c.Errors)
	s.recycle()
	return unlessAbort(err)
}

// enter counts a request in.
func (m *Mount) enter() bool {
	if !m.gen.enter(request) {
		return false
	}
	m.inFlight.Add(1)
	return true
}

// leave counts it out.
func (m *Mount) leave() {
	m.inFlight.Add(-1)
	m.gen.leave(request)
}

// slot takes a slot from the pool that fits the writer.
func (m *Mount) slot(w http.ResponseWriter, r *http.Request) *slot {
	if r.ProtoMajor == 2 && canPush(w) {
		return m.pushSlots.Get().(*slot)
	}
	return m.slots.Get().(*slot)
}

// errAbort stands for http.ErrAbortHandler until the slot is done with.
var errAbort = errors.New("abort the connection")

// unlessAbort panics with http.ErrAbortHandler, as net/http wants it, for
// errAbort.
func unlessAbort(err error) error {
	if err != nil && errors.Is(err, errAbort) {
		panic(http.ErrAbortHandler)
	}
	return err
}

// serve runs the app's handlers. It returns the error that Caddy is to answer
// with.
func (s *slot) serve(w http.ResponseWriter, r *http.Request, path, rawPath string) (err error) {
	restore(s.c, &s.fresh)
	s.writer.reset(w)
	s.ctx = r.Context()
	s.path, s.rawPath = path, rawPath
	s.failure, s.streamed = nil, false
	s.multiplexed = r.ProtoMajor > 1
	r = s.present(r)
	s.c.Request = r

	returned := false
	defer func() {
		if s.answer != nil {
			s.answer.finish()
			s.answer = nil
		}
		if r.MultipartForm != nil || s.c.Request != r {
			removeUploads(r, s.c.Request) // the app may have replaced it before parsing
		}
		if returned {
			return
		}
		s.poisoned = true
		if p := recover(); p != nil {
			err = s.panicked(p, debug.Stack())
		}
	}()
	s.mount.engine.HandleContext(s.c)
	returned = true

	if u := r.URL; !s.writer.hijacked && (u.Path != s.path || u.RawPath != s.rawPath) {
		u.Path, u.RawPath = s.path, s.rawPath // Gin writes its redirects there, and Caddy may look again
	}
	if !s.writer.hijacked && r.Pattern != "" {
		r.Pattern = "" // of a ServeMux in the app: Caddy's tracing would name the span by it
	}
	s.writer.finish()
	return s.outcome()
}

// removeUploads deletes the files of parsed multipart forms. net/http does it
// only for the request that it made itself, of which Caddy passes on a copy.
func removeUploads(requests ...*http.Request) {
	for _, r := range requests {
		if r != nil && r.MultipartForm != nil {
			_ = r.MultipartForm.RemoveAll()
		}
	}
}

// panicked logs the panic and says how the request is to end.
func (s *slot) panicked(p any, stack []byte) error {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return errAbort
	}
	answer := caddyhttp.Error(http.StatusInternalServerError,
		fmt.Errorf("the Gin app %q panicked", s.mount.app.name))
	panicsTotal.WithLabelValues(s.mount.app.name, s.c.FullPath()).Inc()
	s.mount.app.logger.Error("handler panicked",
		zap.Any("panic", p),
		zap.String("method", s.c.Request.Method),
		zap.String("route", s.c.FullPath()),
		zap.String("err_id", answer.ID),
		zap.ByteString("stack", appStack(stack)))
	if s.writer.wrote || s.writer.hijacked {
		return fmt.Errorf("%w: %w", errAbort, answer) // half an answer must not look whole
	}
	return answer
}

// outcome returns the error that the handlers left behind for Caddy.
func (s *slot) outcome() error {
	for _, e := range s.c.Errors {
		// gin.Recovery takes this panic for a broken connection
		if errors.Is(e.Err, http.ErrAbortHandler) {
			return errAbort
		}
	}
	if s.failure == nil || !s.writer.wrote {
		return s.failure
	}
	s.mount.app.logger.Error("handler failed after it began to answer",
		zap.String("route", s.c.FullPath()), zap.Error(s.failure))
	return errAbort
}

// count adds the request to the statistics. err is that of serve.
func (s *slot) count(method string, start time.Duration, err error) {
	code := s.writer.status
	switch {
	case err == nil && s.writer.hijacked:
		code = http.StatusSwitchingProtocols
	case err == nil:
	case errors.Is(err, errAbort):
		code = aborted
	default:
		code = http.StatusInternalServerError
		if answer, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
			code = answer.StatusCode
		}
	}
	s.counter = s.mount.counters.again(s.counter, s.c.FullPath(), method)
	if !s.streamed && !s.writer.hijacked {
		s.counter.duration.Observe((clock() - start).Seconds())
	}
	s.counter.answered(code)
}

// recycle gives the slot back unless somebody may still use it.
func (s *slot) recycle() {
	if s.writer.hijacked || s.poisoned {
		return
	}
	if s.writer.push {
		s.mount.pushSlots.Put(s)
	} else {
		s.mount.slots.Put(s)
	}
}

// strip takes the base path off; inside is false if u is not below it.
func (m *Mount) strip(u *url.URL) (path, rawPath string, inside bool) {
	base := m.opts.BasePath
	if base == "" {
		return u.Path, u.RawPath, true
	}
	path, ok := cutPrefix(u.Path, base)
	if !ok {
		return "", "", false
	}
	return path, cutRawPrefix(u.RawPath, base), true
}
