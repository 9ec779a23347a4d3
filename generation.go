package caddygin

import "github.com/caddy-gin/caddy-gin/ginbridge"

// Generation returns what the Gin apps of the configuration have in common,
// their life. It is nil before Provision.
func (a *App) Generation() *ginbridge.Generation { return a.generation }
