package listeners

import "net"

// Bare returns the socket of the operating system that a connection is, without
// what this package puts around it to count it. ok is false for all others:
// what another layer has made may be in the middle of something.
func Bare(conn net.Conn) (bare net.Conn, ok bool) {
	switch c := conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return conn, true
	case *countedTCP:
		return c.TCPConn, true
	case *countedUnix:
		return c.UnixConn, true
	case *counted:
		return Bare(c.Conn)
	}
	return nil, false
}

// Adopt makes a connection that another process has accepted one of the address
// with a key (see [SocketInfo.Key]): it is counted, and gets the keep-alive
// probes that the address asks for. It does not wait for maxconn. If no
// configuration has the address, conn is returned as it is.
func Adopt(key string, conn net.Conn) net.Conn {
	l, t := sockets.newest(key, conn.LocalAddr())
	if t == nil {
		return conn
	}
	if tcp, ok := conn.(*net.TCPConn); ok && l.keepAlive != nil {
		l.keepAlive(tcp)
	}
	t.add()
	t.accepted.Add(1)
	return t.wrap(conn)
}

// newest returns the newest listener of the address with a key, and the tally
// of its socket that stands for a local address. They are nil if there is none.
func (p *pool) newest(key string, local net.Addr) (*Listener, *tally) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.groups {
		l := g.listeners[len(g.listeners)-1]
		if l.req.match != key {
			continue
		}
		if addr, ok := local.(*net.TCPAddr); ok {
			for _, h := range l.handles {
				if h.socket.target.covers(addr.AddrPort()) {
					return l, h.tally
				}
			}
		}
		return l, l.handles[0].tally
	}
	return nil, nil
}

// add counts a connection, whatever the limit.
func (t *tally) add() {
	t.limit.mu.Lock()
	defer t.limit.mu.Unlock()
	t.open++
	t.limit.open++
}
