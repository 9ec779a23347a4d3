package storm

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// host is the name that clients ask for, whatever the address.
const host = "localhost"

// insecure is for servers whose certificate nobody vouches for.
func insecure(protocols ...string) *tls.Config {
	return &tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: protocols} //nolint:gosec // servers of our own
}

// dialStream connects by TCP, TLS or a Unix socket.
func (l Load) dialStream(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	network := "tcp"
	if l.Protocol == Unix {
		network = "unix"
	}
	c, err := new(net.Dialer).DialContext(ctx, network, l.Address)
	if err != nil {
		return nil, err
	}
	if buffer, ok := c.(interface{ SetReadBuffer(int) error }); ok && l.Behaviour == Download {
		_ = buffer.SetReadBuffer(smallBuffer) // or the server would be done with it at once
	}
	var config *tls.Config
	switch l.Protocol {
	case TLS:
		config = insecure("http/1.1")
	case HTTP2:
		config = insecure("h2")
	default:
		return c, nil
	}
	secure := tls.Client(c, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return secure, nil
}

// sleep waits, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
