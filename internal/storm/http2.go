package storm

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/net/http2"
)

// smallBuffer is how much of an answer may be on its way, in bytes.
const smallBuffer = 64 << 10

// conn2 speaks HTTP/2, without the part of its library that repeats requests.
type conn2 struct{ *http2.ClientConn }

// dialer2 returns a function that connects by HTTP/2.
func (l Load) dialer2() (func(context.Context) (conn, error), error) {
	config := &http.HTTP2Config{MaxReceiveBufferPerStream: smallBuffer}
	// the connections of net/http do not tell of a GOAWAY
	transport, err := http2.ConfigureTransports(&http.Transport{HTTP2: config}) //nolint:staticcheck // see above
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (conn, error) {
		c, err := l.dialStream(ctx)
		if err != nil {
			return nil, err
		}
		cc, err := transport.NewClientConn(c) //nolint:staticcheck // see above
		if err != nil {
			_ = c.Close()
			return nil, err
		}
		return conn2{cc}, nil
	}, nil
}

// RoundTrip implements conn.
func (c conn2) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.ClientConn.RoundTrip(req)
	if err != nil && err.Error() == "http2: client conn not usable" { // it has no name
		return nil, errNotSent
	}
	return resp, err
}

func (c conn2) wait(ctx context.Context, d time.Duration) error {
	sleep(ctx, d)
	if !c.usable() {
		return errNotSent
	}
	return nil
}

func (c conn2) usable() bool {
	state := c.State()
	return !state.Closed && !state.Closing
}

func (c conn2) broken(error) bool { return true }
