package storm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// Kind is a way to fail.
type Kind string

// The kinds of failures.
const (
	Refused Kind = "refused" // nobody listens
	Reset   Kind = "reset"
	EOF     Kind = "eof"    // the connection ended before the answer
	Status  Kind = "status" // an answer other than 200
	Body    Kind = "body"   // a wrong or truncated answer
	Timeout Kind = "timeout"
	Stream  Kind = "stream" // GOAWAY, or an error of HTTP/2 or HTTP/3
	Other   Kind = "other"
)

// Kinds has all kinds, in the order of tables.
func Kinds() []Kind { return []Kind{Refused, Reset, EOF, Status, Body, Timeout, Stream, Other} }

// statusError is an answer other than 200.
type statusError struct {
	status string
	body   []byte // the beginning of it
}

func (e *statusError) Error() string { return fmt.Sprintf("status %s: %.100q", e.status, e.body) }

// bodyError is an answer that does not say what it should, or not all of it.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

func wrongBody(format string, args ...any) error { return &bodyError{fmt.Errorf(format, args...)} }

// kindOf classifies the error of a request.
func kindOf(err error) Kind {
	var (
		status   *statusError
		body     *bodyError
		ofCurl   *curlError
		network  net.Error
		deadline = errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errPatience)
	)
	switch {
	case errors.As(err, &status):
		return Status
	case errors.As(err, &ofCurl):
		return ofCurl.kind()
	case deadline, errors.As(err, &network) && network.Timeout():
		return Timeout
	case errors.As(err, &body):
		return Body
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return Refused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Reset
	case isStream(err):
		return Stream
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return EOF
	}
	return Other
}

// isStream tells whether an error is one of HTTP/2, HTTP/3 or QUIC.
func isStream(err error) bool {
	var (
		stream2     http2.StreamError
		connection2 http2.ConnectionError
		error3      *http3.Error
		application *quic.ApplicationError
		transport   *quic.TransportError
		stream3     *quic.StreamError
		reset       *quic.StatelessResetError
	)
	return errors.As(err, &stream2) || errors.As(err, &connection2) ||
		errors.As(err, &error3) || errors.As(err, &application) || errors.As(err, &transport) ||
		errors.As(err, &stream3) || errors.As(err, &reset) ||
		strings.HasPrefix(err.Error(), "http2: ") // GOAWAY, and others without a type
}

// isClosed tells whether an error means that the other side has ended the
// connection.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// checkStatus returns an error unless an answer is of status 200.
func checkStatus(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 100))
	return &statusError{resp.Status, body}
}
