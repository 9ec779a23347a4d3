package caddygin

import (
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// place is where a configuration has a gin handler.
type place struct {
	Server string   `json:"server"`         // its name in the configuration
	Listen []string `json:"listen"`         // the server's addresses
	Hosts  []string `json:"hosts"`          // of the matchers on the way; none is every host
	Path   string   `json:"path,omitempty"` // likewise; " > " stands between nested ones
}

// placesOf finds the gin handlers of a configuration.
func placesOf(app *caddyhttp.App) map[*Handler]place {
	places := make(map[*Handler]place)
	for name, server := range app.Servers {
		at := place{Server: name, Listen: server.Listen, Hosts: []string{}}
		at.walk(places, server.Routes)
		if server.Errors != nil {
			at.walk(places, server.Errors.Routes)
		}
		for _, route := range server.NamedRoutes {
			at.walk(places, caddyhttp.RouteList{*route})
		}
	}
	return places
}

// walk adds the handlers of routes that a request gets to by way of p.
func (p place) walk(places map[*Handler]place, routes caddyhttp.RouteList) {
	for _, route := range routes {
		at := p.within(route.MatcherSets)
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *Handler:
				places[h] = at
			case *caddyhttp.Subroute:
				at.walk(places, h.Routes)
				if h.Errors != nil {
					at.walk(places, h.Errors.Routes)
				}
			}
		}
	}
}

// within returns the place behind further matchers.
func (p place) within(sets caddyhttp.MatcherSets) place {
	var paths []string
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchPath:
				paths = append(paths, *m...)
			case *caddyhttp.MatchHost:
				p.Hosts = append(p.Hosts[:len(p.Hosts):len(p.Hosts)], *m...)
			}
		}
	}
	if len(paths) > 0 {
		if p.Path != "" {
			p.Path += " > "
		}
		p.Path += strings.Join(paths, " ")
	}
	return p
}
