package caddygin

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// peerFields are the fields of MatchUnixPeer.
var peerFields = []string{"uid", "gid", "user", "group"}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	unix_peer uid|gid|user|group <value...>
//
//	unix_peer {
//	    uid   <number...>
//	    gid   <number...>
//	    user  <name...>
//	    group <name...>
//	}
//
// Lines may be repeated; their values are alternatives.
func (m *MatchUnixPeer) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		line := d.RemainingArgs()
		if len(line) > 0 {
			if err := m.setLine(line); err != nil {
				return d.WrapErr(err)
			}
		}
		lines := 0
		for ; d.NextBlock(0); lines++ {
			if len(line) > 0 {
				return d.Errf("unix_peer: a block after %q; put everything into the block", strings.Join(line, " "))
			}
			if err := m.set(d.Val(), d.RemainingArgs()); err != nil {
				return d.WrapErr(err)
			}
			if d.NextBlock(1) {
				return d.Err("unix_peer: a field takes no block")
			}
		}
		if len(line) == 0 && lines == 0 {
			return d.Errf("unix_peer: nothing to match; want %s", strings.Join(peerFields, ", "))
		}
	}
	return nil
}

// setLine adds the values of one field, given as its name and them.
func (m *MatchUnixPeer) setLine(words []string) error {
	// "user root group deploy" looks like two conditions, and would be three
	// users: where those exist, it would let in more than was asked for
	if i := slices.IndexFunc(words[1:], isPeerField); i >= 0 {
		return fmt.Errorf("unix_peer: %q after %q: one line takes one field; write a block with a line for each", words[1+i], words[0])
	}
	return m.set(words[0], words[1:])
}

func isPeerField(word string) bool { return slices.Contains(peerFields, word) }

// set adds values, as text, to a field.
func (m *MatchUnixPeer) set(field string, values []string) error {
	if !isPeerField(field) {
		return fmt.Errorf("unix_peer: unknown field %q; want one of %s", field, strings.Join(peerFields, ", "))
	}
	if len(values) == 0 {
		return fmt.Errorf("unix_peer: %s has no value", field)
	}
	switch field {
	case "user":
		m.User = append(m.User, values...)
		return nil
	case "group":
		m.Group = append(m.Group, values...)
		return nil
	}
	ids := &m.UID
	if field == "gid" {
		ids = &m.GID
	}
	for _, value := range values {
		id, err := strconv.ParseUint(value, 10, 32)
		if err != nil || id > maxPeerID {
			return fmt.Errorf("unix_peer: %s %q is not a number from 0 to %d; for a name there is %s",
				field, value, int64(maxPeerID), map[string]string{"uid": "user", "gid": "group"}[field])
		}
		*ids = append(*ids, int(id))
	}
	return nil
}

// CELLibrary makes the matcher usable in expressions, one field at a time:
//
//	expression unix_peer('user', 'root', 'deploy') || unix_peer('gid', '0')
func (*MatchUnixPeer) CELLibrary(ctx caddy.Context) (cel.Library, error) {
	// Caddy calls this for every expression, whatever it says. The function
	// below can be called per request, which is too late to watch a server
	watched := watchPeers(ctx)
	return caddyhttp.CELMatcherImpl(
		"unix_peer", "unix_peer_match_request_list",
		[]*cel.Type{cel.ListType(cel.StringType)},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			list, err := data.ConvertToNative(reflect.TypeFor[[]string]())
			if err != nil {
				return nil, err
			}
			words := list.([]string)
			switch {
			case len(words) == 0:
				return nil, fmt.Errorf("unix_peer: nothing to match; want one of %s, and its values", strings.Join(peerFields, ", "))
			case !watched:
				return nil, errNoServer
			}
			m := new(MatchUnixPeer)
			if err := m.setLine(words); err != nil {
				return nil, err
			}
			return m, m.resolve()
		},
	)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler        = (*MatchUnixPeer)(nil)
	_ caddyhttp.CELLibraryProducer = (*MatchUnixPeer)(nil)
)
