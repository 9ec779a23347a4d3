// Command reloadstorm shows what clients notice of a server's reloads:
//
//	go run ./cmd/reloadstorm [-systems a,b] [-protocols a,b] [-behaviours a,b | -behaviours all] [-reloads n] [-interval d] [-calm d]
//
// It starts servers and clients on this machine, on loopback ports that the
// operating system chose, and reloads the servers under load, each time with
// another configuration. The systems are
//
//   - caddy-gin: this plugin, with the listener wrapper seamless and the networks
//     ipv4/ and unixsock/;
//   - caddy: the same without the wrapper, on Caddy's own networks;
//   - gin: plain Gin on net/http. A reload starts a new process on the same ports
//     (SO_REUSEPORT) and ends the old one by http.Server.Shutdown, for 5 seconds;
//   - nginx: as a proxy of plain Gin, with nginx -s reload;
//   - haproxy: the same in its master-worker mode, with SIGUSR2;
//   - haproxy-idle: the same with option idle-close-on-response.
//
// Protocols and behaviours of clients are those of package internal/storm. No
// client repeats a request: each failure is counted, although libraries would
// hide some of them where a request may be repeated. A connection counts as
// closed by the server if its client would have used it again. With -behaviours
// all, the clients of all behaviours run at once.
//
// The clients run for a second, or what -calm says, before the reloads, which gives
// the latencies without (calm) beside those with (storm). All share the processors:
// compare the figures with each other, not with those of other machines.
//
// The exit code is 1 if this plugin failed a request or closed a connection.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	// the Caddy that the systems run
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-gin/caddy-gin"
	_ "github.com/caddy-gin/caddy-gin/internal/storm/stormapp"
)

// The subcommands by which reloadstorm starts itself as a server. They are not
// for users.
const (
	caddyCommand = "caddy"
	ginCommand   = "gin-server"
)

func main() { os.Exit(realMain(os.Args)) }

// realMain returns the exit code.
func realMain(args []string) int {
	if len(args) > 1 && args[1] == caddyCommand {
		os.Args = args[1:]
		caddycmd.Main()
		return 0
	}
	if len(args) > 1 && args[1] == ginCommand {
		if err := serveGin(args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "reloadstorm:", err)
			return 1
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(args[1:], os.Stderr)
	if err == nil {
		err = run(ctx, o, os.Stdout, os.Stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "reloadstorm: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "reloadstorm:", err)
		return 1
	}
	return 0
}
