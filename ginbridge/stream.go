package ginbridge

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// stream is what has no end of its own and would keep a configuration in use
// for ever: a connection that a handler took over, or an answer such as an
// event stream.
type stream struct {
	mount *Mount
	kind  string
	since time.Time
	stop  func()      // has it end in its own way; nothing waits for that
	abort func()      // ends it now
	timer *time.Timer // calls stop; guarded by Generation.mu
}

// Kinds of streams.
const (
	hijacked    = "hijacked"     // a connection
	eventStream = "event_stream" // an answer of type text/event-stream
	connect     = "connect"      // the answer to CONNECT, as of a WebSocket over HTTP/2
)

var streamKinds = []string{hijacked, eventStream, connect}

// delay returns the Options.StreamCloseDelay.
func (s *stream) delay() time.Duration { return s.mount.opts.StreamCloseDelay }

// begin adds the stream to those of its generation.
func (s *stream) begin() {
	s.since = time.Now()
	g, delay := s.mount.gen, s.delay()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.streams[s] = struct{}{}
	if delay > 0 && !g.drainedAt.IsZero() {
		left := max(0, time.Until(g.drainedAt.Add(delay-farewell(delay))))
		s.timer = time.AfterFunc(rand.N(left+1), s.stop)
	}
}

// end removes the stream. It is false if that has been done before.
func (s *stream) end() bool {
	g := s.mount.gen
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, listed := g.streams[s]; !listed {
		return false
	}
	delete(g.streams, s)
	if s.timer != nil {
		s.timer.Stop()
	}
	return true
}

// stopStreams plans the ends of those streams that are not to outlive their
// configuration for long, in no particular order but at equal intervals. mu
// must be held.
func (g *Generation) stopStreams() {
	groups := make(map[time.Duration][]*stream)
	for s := range g.streams {
		if delay := s.delay(); delay > 0 {
			groups[delay] = append(groups[delay], s)
		}
	}
	for delay, streams := range groups {
		interval := (delay - farewell(delay)) / time.Duration(len(streams))
		for i, s := range streams {
			s.timer = time.AfterFunc(interval*time.Duration(i+1), s.stop)
		}
	}
}

// farewell is how long a handler has to end a stream before it is cut. It is
// part of the delay.
func farewell(delay time.Duration) time.Duration { return min(delay/4, 5*time.Second) }

// Errors of CloseStreams.
var (
	ErrLive    = errors.New("the generation is live")
	ErrUnknown = errors.New("there is no such generation")
)

// CloseStreams ends the streams of a generation that is draining now, with
// their connections or HTTP/2 streams: their handlers were told by Draining,
// and did not end them. It returns how many there were, and waits for none.
func CloseStreams(id uint64) (int, error) {
	generationsMu.Lock()
	i := slices.IndexFunc(generations, func(g *Generation) bool { return g.id == id })
	if i < 0 {
		generationsMu.Unlock()
		return 0, ErrUnknown
	}
	g := generations[i]
	generationsMu.Unlock()
	select {
	case <-g.draining:
		return g.closeStreams(), nil
	default:
		return 0, ErrLive
	}
}

func (g *Generation) closeStreams() int {
	g.mu.Lock()
	var aborts []func()
	for s := range g.streams {
		aborts = append(aborts, s.abort)
	}
	g.mu.Unlock()
	for _, abort := range aborts {
		abort()
	}
	return len(aborts)
}

// errReplaced is the cause with which the context of a stream ends.
var errReplaced = errors.New("the configuration that serves the stream has been replaced")

// answer is a stream that is the answer to a request.
type answer struct {
	stream
	cancel context.CancelCauseFunc // of the request's context
	conn   net.Conn                // nil if it is not known or has other requests, too
	writer http.ResponseWriter     // net/http's own

	mu   sync.Mutex // held while the answer is being cut
	over bool       // conn and writer may be another request's
}

// flushed is called when something of the answer has been sent before its
// end: that is when it may turn out to be a stream.
func (s *slot) flushed() {
	kind := endless(s.c.Request.Method, s.writer.Header())
	if kind == "" {
		return
	}
	a := &answer{
		stream: stream{mount: s.mount, kind: kind},
		cancel: s.cancel,
		writer: innermost(s.writer.ResponseWriter),
	}
	if !s.multiplexed {
		a.conn, _ = s.ctx.Value(connKey{}).(net.Conn)
	}
	a.stop, a.abort = a.ask, a.cancelAndCut
	s.answer, s.streamed = a, true
	a.begin()
}

// endless returns the kind of an answer that has no end of its own, or "". Any
// answer may be flushed piece by piece, such as a download, which must not be
// cut; what is sure to go on until somebody ends it are event streams, and
// CONNECT, which is how a WebSocket begins over HTTP/2 and HTTP/3.
func endless(method string, header http.Header) string {
	if method == http.MethodConnect {
		return connect
	}
	mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream") {
		return eventStream
	}
	return ""
}

// ask asks the handler to end, and cuts the answer if it does not.
func (a *answer) ask() {
	a.cancel(errReplaced)
	g := a.mount.gen
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, listed := g.streams[&a.stream]; listed {
		a.timer = time.AfterFunc(farewell(a.delay()), a.cut)
	}
}

// cancelAndCut ends the answer now.
func (a *answer) cancelAndCut() {
	if a.cancel != nil {
		a.cancel(errReplaced)
	}
	a.cut()
}

// cut ends the answer whatever its handler does: the connection is closed, or
// the HTTP/2 stream reset. Over HTTP/3, and where a connection is not known
// because it is older than the app there, only what the handler is reading or
// writing now fails.
func (a *answer) cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return
	}
	if a.conn != nil {
		_ = a.conn.Close()
		return
	}
	// of Caddy's writers, some may be used by one goroutine only
	rc := http.NewResponseController(a.writer)
	_ = rc.SetReadDeadline(time.Unix(1, 0))
	_ = rc.SetWriteDeadline(time.Unix(1, 0))
}

// finish is called when the handlers have returned.
func (a *answer) finish() {
	a.end()
	a.mu.Lock()
	a.over = true
	a.mu.Unlock()
}

// innermost returns the writer of net/http, or of quic-go, beneath those of
// Caddy.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		switch outer := w.(type) {
		case *timeoutWriter:
			w = outer.beneath
		case interface{ Unwrap() http.ResponseWriter }:
			w = outer.Unwrap()
		default:
			return w
		}
	}
}

// connKey is the key of the connection in the contexts of its requests.
type connKey struct{}

// withConn is a function of caddyhttp.Server.RegisterConnContext.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	if ctx.Value(connKey{}) != nil {
		return ctx // another app did that
	}
	return context.WithValue(ctx, connKey{}, conn)
}
