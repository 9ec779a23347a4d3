// Command caddy is the Caddy that the end-to-end tests start: the plugin, the
// example apps, and the apps of package testapps.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-gin/caddy-gin"
	_ "github.com/caddy-gin/caddy-gin/examples/hello"
	_ "github.com/caddy-gin/caddy-gin/examples/orders"
	_ "github.com/caddy-gin/caddy-gin/internal/testcaddy/testapps"
)

func main() {
	caddycmd.Main()
}
