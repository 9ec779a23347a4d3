// Command caddy is a Caddy with the Gin plugin and the demonstration app
// "hello" built in. For a Caddy with apps of your own, use xcaddy or copy
// this file and change its imports.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	// plug in Caddy's standard modules, the Gin plugin, and the apps
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-gin/caddy-gin"
	_ "github.com/caddy-gin/caddy-gin/examples/hello"
)

func main() {
	caddycmd.Main()
}
