package caddygin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gin/caddy-gin/listeners"
	_ "github.com/caddy-gin/caddy-gin/listeners/seamless" // the listener wrapper
)

// provisionListeners reads the named sets of options.
func (a *App) provisionListeners() error {
	repl := caddy.NewReplacer()
	a.sets = make(map[string]listeners.Options, len(a.Listeners))
	for _, name := range slices.Sorted(maps.Keys(a.Listeners)) {
		set := make(listeners.Options)
		for _, option := range slices.Sorted(maps.Keys(a.Listeners[name])) {
			if option == "use" {
				return fmt.Errorf("listener %s: a set of options cannot use another", name)
			}
			if err := set.Add("", option, repl.ReplaceKnown(a.Listeners[name][option], "")); err != nil {
				return fmt.Errorf("listener %s: %w", name, err)
			}
		}
		a.sets[name] = set
	}
	return nil
}

// ListenerOptions implements [listeners.Sets].
func (a *App) ListenerOptions(name string) (listeners.Options, error) {
	set, ok := a.sets[name]
	switch {
	case ok:
		return set, nil
	case len(a.sets) == 0:
		return nil, fmt.Errorf("unknown listener %q: the global option gin has none", name)
	}
	return nil, fmt.Errorf("unknown listener %q: those of the global option gin are %s", name,
		strings.Join(slices.Sorted(maps.Keys(a.sets)), ", "))
}

// checkAddresses checks the addresses of the server that ctx belongs to, as
// far as that is possible without opening them.
func (a *App) checkAddresses(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return nil
	}
	for _, listen := range server.Listen {
		na, err := caddy.ParseNetworkAddress(listen)
		if err != nil || !listeners.Ours(na.Network) {
			continue // Caddy's own complaint is to come, or none
		}
		address, err := listeners.Parse(na.Network, na.Host)
		if err == nil {
			_, err = address.WithSet(a)
		}
		if err != nil {
			return fmt.Errorf("listening on %w", err)
		}
	}
	return nil
}

// unmarshalListener parses a set of options. Syntax:
//
//	listener <name> {
//		<option> [<value>]
//	}
func (a *App) unmarshalListener(d *caddyfile.Dispenser) error {
	var name string
	if err := oneArg(d, &name); err != nil {
		return err
	}
	if _, twice := a.Listeners[name]; twice {
		return d.Errf("listener %q is given twice", name)
	}
	set := make(map[string]string)
	check := make(listeners.Options)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		var value string
		if d.Args(&value); d.NextArg() {
			return d.Errf("listener %s: option %s takes one value at most", name, option)
		}
		if option == "use" {
			return d.Errf("listener %s: a set of options cannot use another", name)
		}
		if !strings.Contains(value, "{") { // otherwise a placeholder; Provision sees its value
			if err := check.Add("", option, value); err != nil {
				return d.Errf("listener %s: %v", name, err)
			}
		}
		set[option] = value
	}
	if len(set) == 0 {
		return d.Errf("listener %s has no options; they are: %s", name, strings.Join(listeners.OptionNames(""), ", "))
	}
	if a.Listeners == nil {
		a.Listeners = make(map[string]map[string]string)
	}
	a.Listeners[name] = set
	return nil
}

// Interface guard
var _ listeners.Sets = (*App)(nil)
