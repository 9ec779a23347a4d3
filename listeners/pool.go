package listeners

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"

	"go.uber.org/zap"
)

// pool owns the sockets of the process. Its mutex guards all fields of the
// pool, of its groups and of its sockets but where they say otherwise.
type pool struct {
	mu       sync.Mutex
	sockets  map[Target]*socket  // those that new configurations share
	retiring map[*socket]*handle // replaced, and handing over their queues through the handle
	packets  map[*packetConn]struct{}
	groups   map[groupKey]*group

	inherited map[Target]*socket  // from the process before this one, until somebody asks for them
	ports     map[groupKey]uint16 // that it had bound
}

var sockets = pool{
	sockets:  make(map[Target]*socket),
	retiring: make(map[*socket]*handle),
	packets:  make(map[*packetConn]struct{}),
	groups:   make(map[groupKey]*group),
}

// request is one configuration's wish for sockets.
type request struct {
	asked   string  // the address as the configuration has it, with its port
	match   string  // see [SocketInfo.Key]
	address Address // with the options of its set
	port    uint16
	config  <-chan struct{} // tells configurations apart; nil for none
	log     *zap.Logger
}

func (r request) key() groupKey {
	return groupKey{r.address.Network, r.address.Host, r.address.Options["device"].Text, r.port}
}

// listen opens or shares the sockets of all targets, or none.
func (p *pool) listen(ctx context.Context, req request, targets []Target) (*Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := p.groups[req.key()]
	fresh := g == nil
	if fresh {
		port := req.port
		if bound, ok := p.ports[req.key()]; ok {
			port = bound
		}
		g = &group{key: req.key(), port: port, limit: limiter{address: req.address.At(req.port)}, tallies: make(map[Target]*tally)}
	}
	l := &Listener{group: g, req: req, done: make(chan struct{})}
	handles, err := p.openAll(ctx, req, g.port, targets)
	if err != nil && fresh {
		if fallback, ok := req.address.Options["fallback"]; ok && errors.Is(err, syscall.EADDRINUSE) {
			handles, err = p.fallBack(ctx, req, fallback, targets, err)
		}
	}
	if err != nil {
		p.separate()
		return nil, err
	}
	l.handles = handles
	for _, h := range handles {
		h.tally = g.tally(h.socket.target)
	}
	g.port = handles[0].port()
	g.listeners = append(g.listeners, l)
	g.limit.set(l)
	p.groups[g.key] = g
	return l, nil
}

// fallBack opens the first free port of a range.
func (p *pool) fallBack(ctx context.Context, req request, fallback Value, targets []Target, taken error) ([]*handle, error) {
	for port := fallback.N; port <= fallback.To; port++ {
		handles, err := p.openAll(ctx, req, uint16(port), targets)
		if err == nil {
			req.log.Warn("port is taken, listening on another",
				zap.String("address", req.address.At(req.port)), zap.Int64("port", port), zap.Error(taken))
			return handles, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w; all ports of fallback=%s are taken too", taken, fallback.Text)
}

// openAll opens all targets at one port, or none.
func (p *pool) openAll(ctx context.Context, req request, port uint16, targets []Target) ([]*handle, error) {
	const attempts = 20 // for several sockets on one port of the kernel's choice
	for attempt := 1; ; attempt++ {
		handles := make([]*handle, 0, len(targets))
		chosen := port
		var err error
		for _, t := range targets {
			var h *handle
			if h, err = p.open(ctx, req, t.withPort(chosen)); err != nil {
				break
			}
			handles = append(handles, h)
			chosen = h.port()
		}
		if err == nil {
			return handles, nil
		}
		for _, h := range handles {
			p.release(h)
		}
		if port != 0 || len(handles) == 0 || attempt == attempts || !errors.Is(err, syscall.EADDRINUSE) {
			return nil, err
		}
	}
}

// open shares the socket of a target, or opens one.
func (p *pool) open(ctx context.Context, req request, t Target) (*handle, error) {
	options := req.address.withMode()
	s := p.sockets[t]
	if s != nil && s.lost() {
		// somebody removed the file: clients cannot reach it any more
		req.log.Warn("the socket's file is gone, making another", zap.String("address", t.String()))
		delete(p.sockets, t)
		s = nil
	}
	if s != nil {
		h, err := s.join(req, options)
		return h, explain(t, err)
	}
	event := "took over"
	s, err := p.inherit(t), error(nil)
	if s == nil {
		event = "listening"
		s, err = p.openSocket(ctx, req, t, options)
	}
	if err != nil {
		return nil, err
	}
	h, err := s.join(req, options)
	if err != nil {
		s.close()
		return nil, explain(t, err)
	}
	p.sockets[s.target] = s
	req.log.Info(event, zap.String("asked", req.address.At(req.port)), zap.String("address", s.target.String()),
		zap.String("family", s.target.Family()), zap.Bool("v6only", s.target.V6Only), zap.Any("options", s.report()))
	return h, nil
}

// openSocket opens a socket. If sockets of our own are in the way, they and
// the new one share, which no socket does otherwise: so that a configuration
// that changes 0.0.0.0 into one address, or back, can be loaded.
func (p *pool) openSocket(ctx context.Context, req request, t Target, options Options) (*socket, error) {
	if req.address.Network == Systemd {
		return activated(req.address.Host, t, options)
	}
	own := p.overlapping(t)
	s, err := openSocket(ctx, t, options, len(own) > 0)
	if err != nil {
		return nil, explain(t, err)
	}
	return s, nil
}

// explain has the cause of an error of the operating system diagnosed.
func explain(t Target, err error) error {
	var errno syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &errno):
		return Diagnose(t, err)
	}
	return fmt.Errorf("%s: %w", t, err)
}

// overlapping returns our sockets that contend with a target, after making
// them share.
func (p *pool) overlapping(t Target) []*socket {
	var own []*socket
	for u, s := range p.sockets {
		if u.overlaps(t) && s.setShare() == nil {
			own = append(own, s)
		}
	}
	for s := range p.retiring {
		if s.target.overlaps(t) {
			own = append(own, s)
		}
	}
	return own
}

// separate makes those of our sockets exclusive again that had to share with
// others which are gone.
func (p *pool) separate() {
	for t, s := range p.sockets {
		if s.shares && !p.contended(t) {
			s.setExclusive()
		}
	}
}

// contended reports whether another socket of ours overlaps with a target.
func (p *pool) contended(t Target) bool {
	if p.succeeded(t) {
		return true
	}
	for s := range p.retiring {
		if s.target.overlaps(t) {
			return true
		}
	}
	return false
}

// succeeded reports whether another socket that configurations share overlaps
// with a target.
func (p *pool) succeeded(t Target) bool {
	for u := range p.sockets {
		if u != t && u.overlaps(t) {
			return true
		}
	}
	return false
}

// release takes a handle back. The socket goes with its last handle.
func (p *pool) release(h *handle) {
	h.close()
	s := h.socket
	s.handles = slices.DeleteFunc(s.handles, func(other *handle) bool { return other == h })
	if len(s.handles) > 0 {
		s.settle()
		return
	}
	if p.sockets[s.target] == s {
		delete(p.sockets, s.target)
	}
	if p.succeeded(s.target) {
		last := &handle{socket: s, req: h.req}
		last.ln, _ = s.listener()
		p.retiring[s] = last
		go s.retire(p, last.ln)
		return
	}
	s.close()
}

// giveBack leaves a connection that was accepted but not served to another
// configuration that has the socket, or to the socket's heir.
func (p *pool) giveBack(s *socket, conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !s.give(conn) {
		p.bequeath(conn)
	}
}

// bequeath gives a connection to the socket that now stands for its local
// address, or closes it. The mutex must be held.
func (p *pool) bequeath(conn net.Conn) {
	var heir *socket
	if addr, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		local := addr.AddrPort()
		for t, s := range p.sockets {
			if t.covers(local) && (heir == nil || heir.target.Addr.Addr().IsUnspecified()) {
				heir = s
			}
		}
	}
	if heir == nil || !heir.give(conn) {
		_ = conn.Close()
	}
}
