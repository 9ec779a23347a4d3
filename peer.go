package caddygin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gin/caddy-gin/listeners"
)

func init() {
	caddy.RegisterModule(new(MatchUnixPeer))
}

// MatchUnixPeer matches requests by the process that opened the connection to
// a Unix socket, as the kernel vouches for it. A request that did not come
// through a Unix socket never matches; `not unix_peer` matches it.
//
// Several values are alternatives. User and group are two conditions: if both
// are given, both must hold. For one or the other, use two matchers, or an
// expression: `unix_peer('user', 'root') || unix_peer('group', 'deploy')`.
//
// User and group are the effective ones of the process when it connected; its
// supplementary groups do not count. A proxy on the socket is the peer of all
// the requests that it passes on.
//
// These placeholders are available once such a matcher was evaluated, and in
// `gin` handlers. They are empty for a request that did not come through a
// Unix socket.
//
// Placeholder | Description
// ------------|---------------
// `{http.gin.peer.uid}` | The number of the user
// `{http.gin.peer.gid}` | The number of the group
// `{http.gin.peer.pid}` | The number of the process; empty where the kernel does not tell
type MatchUnixPeer struct {
	// The users, by number, that match. Default: none.
	UID []int `json:"uid,omitempty"`

	// The groups, by number, that match. Default: none.
	GID []int `json:"gid,omitempty"`

	// The users, by name, that match, beside those of `uid`. Names are looked
	// up when the configuration is loaded. Default: none.
	User []string `json:"user,omitempty"`

	// The groups, by name, that match, beside those of `gid`. Names are looked
	// up when the configuration is loaded. Default: none.
	Group []string `json:"group,omitempty"`

	uids, gids []int // all of them, as numbers
}

// CaddyModule returns the Caddy module information.
func (*MatchUnixPeer) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.unix_peer",
		New: func() caddy.Module { return new(MatchUnixPeer) },
	}
}

// errNoServer is for matchers that another app than http loads.
var errNoServer = errors.New("unix_peer: only routes of the http app know their connections; this one is not in it")

// Provision looks the names up.
func (m *MatchUnixPeer) Provision(ctx caddy.Context) error {
	if !watchPeers(ctx) {
		return errNoServer
	}
	return m.resolve()
}

func (m *MatchUnixPeer) resolve() (err error) {
	if !listeners.PeerSupported {
		return fmt.Errorf("unix_peer: %s does not tell the peers of Unix sockets; want linux, darwin or freebsd", runtime.GOOS)
	}
	if len(m.UID)+len(m.GID)+len(m.User)+len(m.Group) == 0 {
		return errors.New("unix_peer: nothing to match; want uid, gid, user or group")
	}
	if m.uids, err = peerIDs("user", "uid", m.User, m.UID, func(name string) (string, error) {
		found, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return found.Uid, nil
	}); err != nil {
		return err
	}
	m.gids, err = peerIDs("group", "gid", m.Group, m.GID, func(name string) (string, error) {
		found, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return found.Gid, nil
	})
	return err
}

// maxPeerID is the largest number of a user or group: the next one means
// nobody.
const maxPeerID = math.MaxUint32 - 1

// peerIDs returns the given numbers and those of the names.
func peerIDs(kind, number string, names []string, ids []int, lookup func(string) (string, error)) ([]int, error) {
	for _, id := range ids {
		if id < 0 || int64(id) > maxPeerID {
			return nil, fmt.Errorf("unix_peer: %s %d is not a number from 0 to %d", number, id, int64(maxPeerID))
		}
	}
	all := slices.Clone(ids)
	for _, name := range names {
		name = caddy.NewReplacer().ReplaceKnown(name, "")
		text, err := lookup(name)
		var noUser user.UnknownUserError
		var noGroup user.UnknownGroupError
		switch {
		case errors.As(err, &noUser), errors.As(err, &noGroup):
			return nil, fmt.Errorf("unix_peer: there is no %s %q on this system; want a name that it knows, or a number with %s", kind, name, number)
		case err != nil:
			return nil, fmt.Errorf("unix_peer: looking up the %s %q: %w", kind, name, err)
		}
		id, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("unix_peer: the %s %q has the number %q: %w", kind, name, text, err)
		}
		all = append(all, id)
	}
	return all, nil
}

// MatchWithError returns true if the client is a process that was asked for.
// It is an error if the client came through a Unix socket and the kernel does
// not tell who it is: with `not`, false would let it in.
func (m *MatchUnixPeer) MatchWithError(r *http.Request) (bool, error) {
	ctx := r.Context()
	if repl, ok := ctx.Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		// another matcher or a gin handler may have been here before
		if _, known := repl.Get(peerPrefix + "uid"); !known {
			repl.Map(func(key string) (any, bool) {
				name, ok := strings.CutPrefix(key, "http.gin.")
				if !ok {
					return nil, false
				}
				return peerPlaceholder(ctx, name)
			})
		}
	}
	peer, ok := listeners.PeerFrom(ctx)
	if !ok {
		if addr, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr); ok && caddy.IsUnixNetwork(addr.Network()) {
			return false, caddyhttp.Error(http.StatusInternalServerError,
				fmt.Errorf("unix_peer: the peer of this connection to %s is not known", addr))
		}
		return false, nil
	}
	return matchesPeer(m.uids, peer.UID) && matchesPeer(m.gids, peer.GID), nil
}

// matchesPeer tells whether id is one of the numbers asked for, if there are
// any.
func matchesPeer(asked []int, id int) bool {
	return len(asked) == 0 || slices.Contains(asked, id)
}

const peerPrefix = "http.gin.peer."

// peerPlaceholder returns the value of {http.gin.NAME} if that is one of
// those about the peer.
func peerPlaceholder(ctx context.Context, name string) (any, bool) {
	var id int
	peer, known := listeners.PeerFrom(ctx)
	switch name {
	case "peer.uid":
		id = peer.UID
	case "peer.gid":
		id = peer.GID
	case "peer.pid":
		id, known = peer.PID, known && peer.PID != 0
	default:
		return nil, false
	}
	if !known {
		return "", true
	}
	return strconv.Itoa(id), true
}

// watchedServers are the servers whose connections know their peers, as long
// as their configuration is loaded.
var watchedServers sync.Map // *caddyhttp.Server → struct{}

// watchPeers lets the requests of the server that a module is provisioned for
// know the peers of their connections. It is false if there is no server.
func watchPeers(ctx caddy.Context) bool {
	var servers []*caddyhttp.Server
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		servers = append(servers, server)
	} else if app := httpAppOf(ctx); app != nil {
		// the matchers of a server's own routes are provisioned before it is
		// known which server it is
		for _, server := range app.Servers {
			servers = append(servers, server)
		}
	}
	for _, server := range servers {
		if _, watched := watchedServers.LoadOrStore(server, struct{}{}); !watched {
			server.RegisterConnContext(listeners.WithPeer)
			context.AfterFunc(ctx, func() { watchedServers.Delete(server) })
		}
	}
	return len(servers) > 0
}

// httpAppOf returns the http app that a module is being provisioned for, or
// nil.
func httpAppOf(ctx caddy.Context) *caddyhttp.App {
	for _, module := range ctx.Modules() {
		if app, ok := module.(*caddyhttp.App); ok {
			return app
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Module                      = (*MatchUnixPeer)(nil)
	_ caddy.Provisioner                 = (*MatchUnixPeer)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchUnixPeer)(nil)
)
