package listeners

import (
	"cmp"
	"net/netip"
	"slices"
)

// SocketInfo describes a socket of the kernel at an address that
// configurations asked for. A socket that they asked for by several addresses,
// as a reload may have it for a moment, is there once for each of them.
type SocketInfo struct {
	// Network is "ipv4", "ipv6", "dual", "unixsock" or "systemd".
	Network string `json:"network"`
	// Asked is the address as the newest configuration has it that uses the
	// socket, with its options and its port. The socket may have another port,
	// if that one is 0 or the option fallback chose another.
	Asked string `json:"asked"`
	// Bound is the address as `ss` shows it, or the path of a Unix socket,
	// which begins with @ if it is abstract.
	Bound string `json:"bound"`
	// Transport is "tcp", "udp" (for HTTP/3) or "unix".
	Transport string `json:"transport"`
	// Family is "IPv4", "IPv6", "IPv4 and IPv6" or "Unix".
	Family string `json:"family"`
	// V6Only tells that an IPv6 socket takes no IPv4 (IPV6_V6ONLY).
	V6Only bool `json:"v6only,omitempty"`
	// PacketsTo are the addresses of a UDP socket that stands for several: it is
	// bound to the wildcard, and the kernel lets in packets to these only. Nil
	// where Bound says it all.
	PacketsTo []netip.Addr `json:"packets_to,omitempty"`
	// Options are the options that are not off, by their names in an address,
	// as the kernel reports them now: times as durations, sizes in bytes (Linux
	// reports twice what was asked for), backlog as the limit that the kernel
	// applies. Those that it does not know of, such as keepalive, which is set
	// on each connection, are in Asked only. Nil where the system tells nothing.
	Options map[string]string `json:"options,omitempty"`
	// Queue is the accept queue; nil for UDP and where the system does not
	// tell (other than Linux; for Unix sockets also if AF_NETLINK is forbidden).
	Queue *Queue `json:"queue,omitempty"`
	// Connections is nil for UDP and for a socket that is retiring.
	*Connections
	// Permissions is nil but for a Unix socket that has a file, on a Unix.
	*Permissions
	// Shares tells that SO_REUSEPORT is set now: because of the option share,
	// or for the moment in which sockets of ours overlap.
	Shares bool `json:"shares,omitempty"`
	// Retiring tells that another socket takes the place of this one, which
	// will be closed: it only hands over what waits in its queue, or clients
	// cannot reach it any more, as somebody removed its file.
	Retiring bool `json:"retiring,omitempty"`
	// Key is the address with its port, without what may change while the
	// socket stays the same; see [Address.Key]. TCP and UDP have the same.
	Key string `json:"-"`
	// Configs are the channels Done of the contexts of the configurations that
	// use the socket at this address, oldest first; none for what is not of a
	// configuration. A UDP socket is kept by its user, who does not tell for
	// which configurations: it has the one that opened it and those with the
	// address for TCP, as far as they are not stopped.
	Configs []<-chan struct{} `json:"-"`
}

// Queue is an accept queue.
type Queue struct {
	// Depth is how many connections wait to be accepted.
	Depth int `json:"depth"`
	// Limit is how many may wait: what backlog asks for, as the kernel caps it.
	Limit int `json:"limit"`
}

// Connections are those that came through a socket for one address. The counts
// begin when configurations ask for the address and none had it.
type Connections struct {
	// Open is how many were accepted and are not closed.
	Open int64 `json:"open"`
	// Accepted is how many were handed to a server so far.
	Accepted uint64 `json:"accepted"`
	// MaxConn is how many connections the address may have open, over all its
	// sockets; 0 is no limit.
	MaxConn int64 `json:"maxconn"`
	// Paused is how often the socket stopped accepting because of MaxConn:
	// clients that connect then wait in the queue.
	Paused uint64 `json:"paused"`
}

// Permissions say who may connect to a Unix socket: those of its file.
type Permissions struct {
	// Owner and Group are names; empty if the number has none.
	Owner string `json:"owner,omitempty"`
	Group string `json:"group,omitempty"`
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	// Mode is octal, such as "0660".
	Mode string `json:"mode"`
}

// Sockets describes all sockets of this package's networks, sorted by Network
// in the order of [Networks], then by Asked, Transport and Bound.
//
// It takes the mutex of the pool for a moment, and asks the kernel afterwards,
// a few system calls per socket; a socket that is closed in between is left
// out. It waits while a socket is being opened. Safe for concurrent use.
func Sockets() []SocketInfo {
	var infos []SocketInfo
	for _, e := range sockets.entries() {
		if e.ask() {
			infos = append(infos, e.SocketInfo)
		}
	}
	slices.SortFunc(infos, func(a, b SocketInfo) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Networks, a.Network), slices.Index(Networks, b.Network)),
			cmp.Compare(a.Asked, b.Asked), cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Bound, b.Bound),
			boolCompare(a.Retiring, b.Retiring))
	})
	return infos
}

// entry is a socket as the pool knows it, and what the kernel can be asked by.
type entry struct {
	SocketInfo
	kernel kernel // a copy: its descriptor may be closed
	path   string
	by     []any // listeners or connections of the socket, oldest first
}

func newEntry(t Target) *entry {
	return &entry{
		SocketInfo: SocketInfo{Bound: t.String(), Transport: t.Network, Family: t.Family(), V6Only: t.V6Only},
		path:       t.Path,
	}
}

// add adds what belongs to one configuration, the newest so far.
func (e *entry) add(req request, by any) {
	e.Network, e.Asked, e.Key = req.address.Network, req.asked, req.match
	e.by = append(e.by, by)
	e.used(req.config)
}

// used adds a configuration, unless it is known.
func (e *entry) used(config <-chan struct{}) {
	if config != nil && !slices.Contains(e.Configs, config) {
		e.Configs = append(e.Configs, config)
	}
}

// entries collects what the pool has.
func (p *pool) entries() []*entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*entry
	for _, g := range p.groups {
		all = append(all, p.entriesOf(g)...)
	}
	for s, h := range p.retiring {
		e := newEntry(s.target)
		e.kernel, e.Retiring = s.kernel, true
		e.add(h.req, h.ln)
		all = append(all, e)
	}
	for c := range p.packets {
		all = append(all, p.entryOf(c))
	}
	return all
}

// entryOf describes a UDP socket. The mutex must be held.
func (p *pool) entryOf(c *packetConn) *entry {
	e := newEntry(c.target)
	e.kernel, e.PacketsTo = packetKernel(c.target), c.only
	e.add(c.req, c.UDPConn)
	if c.req.config != nil && isClosed(c.req.config) {
		e.Configs = nil
	}
	if g := p.groups[c.req.key()]; g != nil {
		for _, l := range g.listeners {
			e.used(l.req.config)
		}
	}
	return e
}

// entriesOf collects the sockets of an address. The mutex must be held.
func (p *pool) entriesOf(g *group) []*entry {
	var all []*entry
	known := make(map[*socket]*entry)
	for _, l := range g.listeners {
		for _, h := range l.handles {
			e := known[h.socket]
			if e == nil {
				e = newEntry(h.socket.target)
				e.kernel = h.socket.kernel
				if e.Retiring = p.sockets[h.socket.target] != h.socket; !e.Retiring {
					e.Connections = h.tally.connections()
				}
				known[h.socket] = e
				all = append(all, e)
			}
			e.add(h.req, h.ln)
		}
	}
	return all
}
