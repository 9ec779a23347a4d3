// Command reloadstorm shows what clients notice of a server's reloads and upgrades:
//
//	go run ./cmd/reloadstorm [-systems a,b] [-protocols a,b] [-behaviours a,b | -behaviours all] [-reloads n] [-upgrades n] [-for d] [-interval d] [-calm d]
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
//   - gin-fork: the same, but the old process starts the new one and has it inherit
//     its listeners, as tableflip does (on Linux);
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
// # Upgrades
//
// With -upgrades n, the server's program is replaced by another one n times, on
// disk by renaming, and then in memory: by caddy gin upgrade; for the systems gin
// and gin-fork as they reload; for caddy by a second process on the same ports
// and a SIGTERM for the first. The programs are this one, built twice of code that
// differs in what it greets with. That needs Linux and Go; GOFLAGS=-race builds them
// with the race detector. With -reloads too, both happen in a random order, and a
// Caddy's memory, goroutines and descriptors before and after are compared if all
// behaviours are at work. The app's streams say goodbye when their configuration has
// been draining for 300 ms, except on plain Gin, which does not tell them. Clients are correct ones: see storm.Load.Repeats.
//
// A second table has the requests that clients could not repeat for want of the
// body, and those that they repeated; the streams' goodbyes; how many versions
// answered requests after the last upgrade, and how many wrong answers there were
// on connections that were opened then. A third one has the median and the longest
// time until the successor was ready, from then until it served, and of the whole
// command, which waits until the old process has drained; the connections that were
// moved, and those that were aborted by the drain limit; and the processes that
// were left.
//
// # Exit code
//
// The exit code is 1 if this plugin failed a request or closed a connection. With
// upgrades, connections of HTTP/1.1 over TLS, HTTP/2 and HTTP/3 may be closed as
// these provide for; but no connection may be aborted, no process of an old
// version may be left or answer, and the last one must not take more than the
// first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
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
	forkCommand  = "gin-fork-server"
)

// upgradable is the name of this program where it is to be upgraded. Under that
// name it is a Caddy.
const upgradable = "caddy"

func main() { os.Exit(realMain(os.Args)) }

// realMain returns the exit code.
func realMain(args []string) int {
	if len(args) > 1 && args[1] == caddyCommand {
		os.Args = args[1:]
		caddycmd.Main()
		return 0
	}
	serve := map[string]func([]string) error{ginCommand: serveGin, forkCommand: serveFork}
	if len(args) > 1 && serve[args[1]] != nil {
		if err := serve[args[1]](args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "reloadstorm:", err)
			return 1
		}
		return 0
	}
	if filepath.Base(args[0]) == upgradable {
		caddycmd.Main() // as users run it
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
