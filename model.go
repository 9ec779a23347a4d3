package caddygin

import (
	"cmp"
	"os"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gin/caddy-gin/ginbridge"
	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/seamless"
	"github.com/caddy-gin/caddy-gin/listeners/upgrade"
)

// This is what the admin API and the commands tell: apps, routes, sockets and
// generations. All functions may be called at any time by any goroutine.

// currentApp returns the App of the configuration that is current, or nil.
func currentApp() *App {
	val, err := caddy.ActiveContext().AppIfConfigured("gin")
	if err != nil {
		return nil
	}
	app, _ := val.(*App)
	return app
}

// httpApp returns the HTTP app of the configuration, or nil.
func (a *App) httpApp() *caddyhttp.App {
	val, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	app, _ := val.(*caddyhttp.App)
	return app
}

// appInfo is an entry of GET /gin/apps.
type appInfo struct {
	ginbridge.MountInfo
	place
	BasePath string `json:"base_path,omitempty"`
}

// apps lists the apps of the current configuration.
func apps() []appInfo {
	infos := []appInfo{}
	a := currentApp()
	if a == nil {
		return infos
	}
	for h, at := range placesOf(a.httpApp()) {
		infos = append(infos, appInfo{h.mount.Info(), at, h.BasePath})
	}
	slices.SortFunc(infos, func(x, y appInfo) int {
		return cmp.Or(cmp.Compare(x.App, y.App), cmp.Compare(x.Server, y.Server), slices.Compare(x.Hosts, y.Hosts), cmp.Compare(x.Path, y.Path))
	})
	return infos
}

// routes lists the routes of the apps of the current configuration, or of one
// of them. An app that is there more than once counts once.
func routes(app string) []ginbridge.RouteInfo {
	infos := []ginbridge.RouteInfo{}
	a := currentApp()
	if a == nil {
		return infos
	}
	for _, h := range a.handlers {
		if app == "" || app == h.mount.App() {
			infos = append(infos, h.mount.RouteInfos()...)
		}
	}
	slices.SortFunc(infos, func(x, y ginbridge.RouteInfo) int {
		return cmp.Or(cmp.Compare(x.App, y.App), cmp.Compare(x.Pattern, y.Pattern), cmp.Compare(x.Method, y.Method))
	})
	return slices.CompactFunc(infos, func(x, y ginbridge.RouteInfo) bool {
		return x.App == y.App && x.Pattern == y.Pattern && x.Method == y.Method
	})
}

// generationInfo is an entry of GET /gin/generations.
type generationInfo struct {
	ginbridge.GenerationInfo
	// State is live or draining; for another process of the same service, of which
	// nothing else is told but its connections (as requests) and its hijacked
	// connections, it is predecessor or successor, and the ID is 0.
	State string `json:"state"`

	// PID is the process, and Version that of another one's binary.
	PID     int    `json:"pid"`
	Version string `json:"version,omitempty"`

	// Carried is how many connections the listener wrapper seamless carried
	// over to the configuration, if it is the current one.
	Carried int64 `json:"carried"`
}

// generations lists the configurations that are live or draining, the oldest
// first, and other processes.
func generations() []generationInfo {
	infos := []generationInfo{}
	for _, p := range upgrade.Processes() {
		infos = append(infos, generationInfo{State: p.Role, PID: p.PID, Version: p.Version, GenerationInfo: ginbridge.GenerationInfo{
			Apps: []string{}, Requests: p.Connections, Hijacked: p.Streams,
		}})
	}
	current := currentApp()
	for _, g := range ginbridge.Generations() {
		info := generationInfo{GenerationInfo: g, State: "live", PID: os.Getpid()}
		if !g.Drained.IsZero() {
			info.State = "draining"
		}
		if current != nil && current.generation.ID() == g.ID {
			info.Carried = current.carried()
		}
		infos = append(infos, info)
	}
	return infos
}

// socketInfo is a socket in GET /gin/listeners.
type socketInfo struct {
	listeners.SocketInfo

	// Generations are the IDs of the configurations with Gin apps that use it.
	Generations []uint64 `json:"generations"`

	// Seamless tells whether the listener wrapper serves it.
	Seamless bool `json:"seamless"`

	// Carried is how many connections the last reload carried over.
	Carried int64 `json:"carried"`
}

// listenersInfo is GET /gin/listeners.
type listenersInfo struct {
	Listeners []socketInfo        `json:"listeners"`
	Host      *listeners.Overflow `json:"host,omitempty"`
}

// sockets lists the sockets of this plugin's networks.
func sockets() listenersInfo {
	infos := listenersInfo{Listeners: []socketInfo{}}
	fronts := make(map[string]seamless.AddressInfo)
	for _, front := range seamless.Addresses() {
		fronts[front.Address] = front
	}
	for _, s := range listeners.Sockets() {
		front := fronts[s.Key]
		info := socketInfo{SocketInfo: s, Seamless: front.Serves(s), Generations: []uint64{}}
		if info.Seamless {
			info.Carried = front.Carried
		}
		for _, config := range s.Configs {
			if id, ok := generationOf(config); ok {
				info.Generations = append(info.Generations, id)
			}
		}
		infos.Listeners = append(infos.Listeners, info)
	}
	if o, ok := listeners.Overflows(); ok {
		infos.Host = &o
	}
	return infos
}
