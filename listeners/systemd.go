package listeners

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// lent is a socket that the process was started with.
type lent struct {
	name   string // FileDescriptorName=, by default the unit's
	fd     int
	file   *os.File // which closes fd when it is collected; `bind fd/3` may need it too
	target Target
	err    error // why it is of no use
}

// String returns what a message says of the socket.
func (l lent) String() string {
	if l.err != nil {
		return fmt.Sprintf("%s (%v)", l.name, l.err)
	}
	return fmt.Sprintf("%s (%s %s)", l.name, l.target.Network, l.target)
}

// activatedTarget finds the socket of a name for a port. A Unix socket has
// none and fits all.
func activatedTarget(name, network string, port uint16) (Target, error) {
	l, err := findLent(name, network, port)
	return l.target, err
}

func findLent(name, network string, port uint16) (lent, error) {
	all := lentSockets()
	if len(all) == 0 {
		return lent{}, fmt.Errorf("systemd/%s: %s", name, notActivated())
	}
	var named, fit []lent
	for _, l := range all {
		if l.name != name {
			continue
		}
		named = append(named, l)
		switch {
		case l.err != nil:
		case l.target.Network == "unix" && network == "tcp",
			l.target.Network == network && l.target.Addr.Port() == port:
			fit = append(fit, l)
		}
	}
	switch {
	case len(named) == 0:
		return lent{}, fmt.Errorf("systemd/%s: systemd passed no socket of that name; it passed %s; FileDescriptorName= in the socket unit names them", name, lentList(all))
	case len(fit) == 0 && network == "udp":
		return lent{}, fmt.Errorf("systemd/%s: HTTP/3 needs a UDP socket at port %d of that name, and systemd passed %s; add ListenDatagram=%d to the unit, or say `protocols h1 h2` in the servers option", name, port, lentList(named), port)
	case len(fit) == 0:
		return lent{}, fmt.Errorf("systemd/%s: no socket of that name is at port %d; systemd passed %s; give the site one of these ports (and `auto_https disable_redirects` if it is the port 80 of redirects)", name, port, lentList(named))
	case len(fit) > 1:
		return lent{}, fmt.Errorf("systemd/%s: several sockets of that name fit port %d: %s; give them names of their own by FileDescriptorName=", name, port, lentList(fit))
	}
	return fit[0], nil
}

func lentList(sockets []lent) string {
	texts := make([]string, len(sockets))
	for i, l := range sockets {
		texts[i] = l.String()
	}
	slices.Sort(texts)
	return list(slices.Compact(texts))
}

// notActivated says why there are no sockets of systemd.
func notActivated() string {
	fds, pid := os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_PID")
	switch {
	case strings.TrimSpace(fds) == "":
		return "systemd passed no sockets: the process was not started by a .socket unit (LISTEN_FDS is not set)"
	case pid != strconv.Itoa(os.Getpid()):
		return fmt.Sprintf("systemd's sockets are for process %s (LISTEN_PID), and this one is %d: start Caddy without a shell in between, or with exec", pid, os.Getpid())
	}
	return fmt.Sprintf("systemd passed no sockets (LISTEN_FDS=%s)", fds)
}
