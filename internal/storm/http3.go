package storm

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// conn3 speaks HTTP/3.
type conn3 struct {
	*http3.ClientConn
	leaving atomic.Bool // the server has said that the connection is to end
}

// dialer3 returns a function that connects by HTTP/3. All connections have one
// socket; close closes it.
func (l Load) dialer3() (dial func(context.Context) (conn, error), closeAll func(), err error) {
	addr, err := net.ResolveUDPAddr("udp", l.Address)
	if err != nil {
		return nil, nil, err
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	packets := &quic.Transport{Conn: socket}
	transport := new(http3.Transport)
	config := &quic.Config{
		HandshakeIdleTimeout:           patience / 2,
		InitialStreamReceiveWindow:     smallBuffer,
		MaxStreamReceiveWindow:         smallBuffer,
		InitialConnectionReceiveWindow: 8 * smallBuffer,
	}
	dial = func(ctx context.Context) (conn, error) {
		c, err := packets.Dial(ctx, addr, insecure(http3.NextProtoH3), config)
		if err != nil {
			return nil, err
		}
		return &conn3{ClientConn: transport.NewClientConn(c)}, nil
	}
	return dial, func() { _, _ = packets.Close(), socket.Close() }, nil
}

// RoundTrip implements conn.
func (c *conn3) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.ClientConn.RoundTrip(req)
	if err != nil && strings.Contains(err.Error(), "conn unusable") { // it has no name
		c.leaving.Store(true)
		return nil, errNotSent
	}
	return resp, err
}

func (c *conn3) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-c.Context().Done():
		return errNotSent
	}
	return nil
}

func (c *conn3) usable() bool { return c.Context().Err() == nil && !c.leaving.Load() }

func (c *conn3) broken(error) bool { return true }

func (c *conn3) Close() error {
	return c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}
