package steer

import (
	"fmt"
	"net"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Group is a group of listening TCP sockets with one address, seen from a
// socket of this process. Its methods must not be called at the same time.
type Group struct {
	fd    int // a duplicate
	addr  *net.TCPAddr
	first bool // the socket is known to be the oldest of the group, and stays it
}

// Addr returns the address, a [*net.TCPAddr].
func (g *Group) Addr() net.Addr { return g.addr }

// Keep has this process get all new connections, whoever joins. The first time
// it waits up to two seconds until the socket is the only one of its group,
// and fails if it is not.
func (g *Group) Keep() error {
	if !g.first {
		if err := alone(g.fd); err != nil {
			return fmt.Errorf("keeping new connections of %s: %w", g.addr, err)
		}
		g.first = true
	}
	return g.choose(oldest)
}

// Give has the socket that joined the group second get all new connections. As
// long as there is none, this process gets them. Connections in the accept
// queue, and those whose handshake has begun, stay with this process. Keep
// must have been called before.
func (g *Group) Give() error { return g.choose(next) }

// Detach leaves the choice to the kernel, as if there had never been a program.
// It waits up to two seconds until the socket is the only one of its group,
// and fails if it is not: others would get connections that they do not
// accept.
func (g *Group) Detach() error {
	err := alone(g.fd)
	if err == nil {
		err = detach(g.fd)
	}
	if err != nil {
		return fmt.Errorf("leaving new connections of %s to the kernel: %w", g.addr, err)
	}
	return nil
}

// End has the socket listen no more, whoever else has descriptors of it: it
// leaves the group, and Accept fails. Connections that wait to be accepted are
// reset, so Give should have been called some time before.
func (g *Group) End() error {
	if err := unix.Shutdown(g.fd, unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("closing %s: %w", g.addr, err)
	}
	return nil
}

// Close closes the duplicate, and leaves the program as it is. The socket
// lives, and its queue fills, until the duplicate is closed too.
func (g *Group) Close() error { return unix.Close(g.fd) }

func (g *Group) choose(number uint32) error {
	if err := attach(g.fd, []bpf.Instruction{bpf.RetConstant{Val: number}}); err != nil {
		return fmt.Errorf("steering new connections of %s: %w", g.addr, err)
	}
	return nil
}
