package caddygin

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
)

// healthInfo is the answer of the health endpoints; it goes with 503 unless it
// is OK.
type healthInfo struct {
	OK bool `json:"ok"`

	// Generation is the ID of the current configuration's generation.
	Generation uint64 `json:"generation,omitempty"`

	// Reasons say why it is not OK.
	Reasons []string `json:"reasons,omitempty"`
}

func respondReady(r *http.Request, _ string) (any, error) { return ready(r.Context()), nil }

// ready tells whether requests will be served: a configuration with Gin apps
// is current, its servers listen, it is not being stopped, and its apps'
// checks succeed.
func ready(ctx context.Context) (info healthInfo) {
	a := currentApp()
	switch {
	case a == nil:
		info.Reasons = append(info.Reasons, "no configuration with a Gin app is loaded")
		return info
	case caddy.Exiting():
		info.Reasons = append(info.Reasons, "the process is being stopped")
	}
	info.Generation = a.generation.ID()
	select {
	case <-a.generation.Draining():
		info.Reasons = append(info.Reasons, "the configuration is being replaced")
	default:
	}
	info.Reasons = append(info.Reasons, a.notListening()...)
	for _, err := range a.generation.Ready(ctx) {
		info.Reasons = append(info.Reasons, err.Error())
	}
	info.OK = len(info.Reasons) == 0
	return info
}

// notListening names the servers with Gin apps that have no listener.
func (a *App) notListening() (reasons []string) {
	for _, at := range placesOf(a.httpApp()) {
		if server := a.httpApp().Servers[at.Server]; len(server.Listeners()) == 0 && !onlyHTTP3(server.Protocols) {
			reasons = append(reasons, fmt.Sprintf("server %s does not listen", at.Server))
		}
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

func onlyHTTP3(protocols []string) bool { return slices.Equal(protocols, []string{"h3"}) }

// appNames returns the names of the configuration's apps, sorted.
func (a *App) appNames() []string {
	var names []string
	for _, h := range a.handlers {
		names = append(names, h.mount.App())
	}
	slices.Sort(names)
	return slices.Compact(names)
}
