// Package caddygin is a Caddy plugin that serves Gin apps from inside Caddy.
//
// It holds the Caddy side: the modules, their Caddyfile and their JSON. What
// an app author needs is in package
// [github.com/caddy-gin/caddy-gin/ginbridge]. Importing this package for its
// side effects adds the modules to a Caddy; xcaddy does that with
//
//	xcaddy build --with github.com/caddy-gin/caddy-gin --with example.com/my/app
package caddygin
