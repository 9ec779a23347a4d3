package storm

import (
	"errors"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// repeats tells whether a request that failed is no failure of the server's, as
// the client may make it again, which it does by its next one.
func (c *client) repeats(p *pooled, err error) bool {
	result := c.pool.result
	switch {
	case !c.load.Repeats:
		return false
	case c.load.Protocol == TLS && !c.posting() && p.answered && isClosed(err) && !isBody(err):
		result.count(&result.Repeated)
	case !isUnprocessed(err):
		return false
	case c.replayable():
		result.count(&result.Repeated)
	default:
		result.count(&result.Unreplayable)
	}
	return true
}

func (c *client) posting() bool { return c.load.Behaviour == Post || c.load.Behaviour == Upload }

// replayable tells whether the client has the body of its last request still.
func (c *client) replayable() bool {
	return !c.posting() || c.load.Behaviour == Post && c.posts%2 == 0
}

// isUnprocessed tells whether the server has said that it did nothing about a
// request of HTTP/2 or HTTP/3.
func isUnprocessed(err error) bool {
	if e, ok := errors.AsType[http2.StreamError](err); ok {
		return e.Code == http2.ErrCodeRefusedStream
	}
	if e, ok := errors.AsType[*http3.Error](err); ok {
		return e.ErrorCode == http3.ErrCodeRequestRejected
	}
	if e, ok := errors.AsType[*quic.StreamError](err); ok {
		return e.Remote && e.ErrorCode == quic.StreamErrorCode(http3.ErrCodeRequestRejected)
	}
	return err.Error() == "http2: Transport received Server's graceful shutdown GOAWAY" // it has no name
}

func isBody(err error) bool {
	_, ok := errors.AsType[*bodyError](err)
	return ok
}
