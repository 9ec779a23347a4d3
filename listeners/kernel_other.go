//go:build !linux && !darwin && !freebsd

package listeners

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

// dualStack reports whether one socket can take both families, which cannot
// be verified here.
const dualStack = false

// kernel is a listening socket of the operating system. Descriptors are not
// duplicated here: one goroutine accepts, and the configurations take turns.
type kernel struct {
	ln     net.Listener
	conns  chan accepted
	closed chan struct{}
	once   *sync.Once
}

// supported returns why an option does not work on this platform.
func supported(name string) error {
	if passive[name] {
		return nil
	}
	return fmt.Errorf("%s does not have it, or it is not built for it", runtime.GOOS)
}

// passive are options that do nothing to a socket of the kernel.
var passive = map[string]bool{"fallback": true, "keepalive": true, "maxconn": true, "retry": true, "use": true}

func openSocket(ctx context.Context, t Target, options Options, _ bool) (*socket, error) {
	if v, ok := options[modeOption]; ok && v.N != int64(DefaultMode) {
		return nil, fmt.Errorf("sockets have no mode on %s: give the folder the permissions, and no |%s", runtime.GOOS, v.Text)
	}
	if strings.HasPrefix(t.Path, "@") {
		return nil, errors.New("abstract sockets exist on Linux only; use a path")
	}
	network, address := "unix", t.Path
	if t.Network != "unix" {
		network, address = "tcp6", t.Addr.String()
		if t.Addr.Addr().Is4() {
			network = "tcp4"
		}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		t = t.withPort(addr.AddrPort().Port())
	}
	k := kernel{ln: ln, conns: make(chan accepted), closed: make(chan struct{}), once: new(sync.Once)}
	go k.serve()
	return &socket{kernel: k, target: t, options: options}, nil
}

// serve accepts until the socket is closed.
func (k *kernel) serve() {
	for {
		conn, err := k.ln.Accept()
		select {
		case k.conns <- accepted{conn: conn, err: err}:
		case <-k.closed:
			if err == nil {
				_ = conn.Close()
			}
			return
		}
	}
}

func (k *kernel) listener() (acceptor, error) {
	return &turn{kernel: k, done: make(chan struct{}), wake: make(chan struct{}, 1)}, nil
}

// turn is a configuration's part in a socket.
type turn struct {
	*kernel
	once sync.Once
	done chan struct{}
	wake chan struct{}
}

// Accept waits for a connection.
func (t *turn) Accept() (net.Conn, error) {
	select {
	case a := <-t.conns:
		return a.conn, a.err
	case <-t.wake:
		return nil, os.ErrDeadlineExceeded
	case <-t.done:
		return nil, net.ErrClosed
	}
}

// SetDeadline wakes Accept if the time has passed; others are not needed.
func (t *turn) SetDeadline(at time.Time) error {
	if at.IsZero() || at.After(time.Now()) {
		return nil
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return nil
}

// Close ends Accept.
func (t *turn) Close() error {
	t.once.Do(func() { close(t.done) })
	return nil
}

// Addr returns the socket's address.
func (t *turn) Addr() net.Addr { return t.ln.Addr() }

func (k *kernel) set(name string, _ Options) error {
	if passive[name] || name == modeOption {
		return nil
	}
	return errors.ErrUnsupported
}

func (s *socket) fixed(string, Options) string { return "" }

func (k *kernel) share() error { return errors.ErrUnsupported }

func (k *kernel) unshare() error { return errors.ErrUnsupported }

func (k *kernel) divert() {}

func (k *kernel) lost() bool { return false }

func (k *kernel) report() map[string]string { return map[string]string{} }

func (k *kernel) close() {
	k.once.Do(func() {
		close(k.closed)
		_ = k.ln.Close()
	})
}

func lentSockets() []lent { return nil }

func activated(string, Target, Options) (*socket, error) { return nil, errors.ErrUnsupported }

func lentPacket(string, uint16) (*net.UDPConn, error) { return nil, errors.ErrUnsupported }

func openUDP(t Target, only []netip.Addr, _ Options, _ bool) (*net.UDPConn, error) {
	if len(only) > 0 {
		return nil, errSeveral
	}
	network := "udp6"
	if t.Addr.Addr().Is4() {
		network = "udp4"
	}
	return net.ListenUDP(network, net.UDPAddrFromAddrPort(t.Addr))
}

func shareUDP(*net.UDPConn, bool) error { return errors.ErrUnsupported }
