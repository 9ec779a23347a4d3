// Command ginbench measures how many requests per second a Gin app answers
// from inside Caddy, and how many it answers in the other ways to run it:
//
//	go run ./cmd/ginbench [-c connections] [-d duration] [-rounds n] [-caddy file]
//
// All systems answer GET /ping with the same JSON. They are
//
//   - gin in caddy: the plugin, "gin hello" in a Caddy built from ./cmd/caddy;
//   - gin alone: plain Gin on net/http;
//   - respond: Caddy's own static response, with the same bytes and header;
//   - reverse_proxy tcp, reverse_proxy unix: Caddy as a proxy of plain Gin;
//   - nginx tcp, nginx unix: nginx as a proxy of plain Gin, if it is installed.
//
// Everything runs on this machine: servers are started as child processes on
// loopback ports that the operating system chose, with no access logs, and end
// with the command. The load comes from the command itself, which shares the
// processors with the servers: the figures are for comparison with each other,
// not with those of other machines.
//
// The systems take turns in several rounds, so that a change of the machine's
// mood meets them all. The table has the medians of the rounds. The column
// "plugin is" says how many times as many requests the plugin answered as this
// system, the median of the ratios within a round; beside it stands what the
// plugin should reach.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/children"
)

// serverCommand is the subcommand by which ginbench starts itself as the
// plain Gin server. It is not for users.
const serverCommand = "gin-server"

func main() { os.Exit(realMain(os.Args[1:])) }

// realMain returns the exit code.
func realMain(args []string) int {
	if len(args) > 0 && args[0] == serverCommand {
		if err := serveGin(args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "ginbench:", err)
			return 1
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, args, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "ginbench: interrupted")
		return 130
	case err != nil:
		fmt.Fprintln(os.Stderr, "ginbench:", err)
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	connections int
	duration    time.Duration
	rounds      int
	caddy       string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("ginbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.connections, "c", 32, "`connections` at a time, 1 to 4096")
	flags.DurationVar(&o.duration, "d", 1500*time.Millisecond, "`duration` of each system's turn in a round, up to 1m")
	flags.IntVar(&o.rounds, "rounds", 5, "`number` of rounds, 1 to 100")
	flags.StringVar(&o.caddy, "caddy", "", "`file` of a Caddy with the plugin and the app hello (default: build ./cmd/caddy)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.connections < 1 || o.connections > 4096:
		return o, fmt.Errorf("-c is %d, must be 1 to 4096", o.connections)
	case o.duration < time.Millisecond || o.duration > time.Minute:
		return o, fmt.Errorf("-d is %v, must be 1ms to 1m", o.duration)
	case o.rounds < 1 || o.rounds > 100:
		return o, fmt.Errorf("-rounds is %d, must be 1 to 100", o.rounds)
	}
	return o, nil
}

// run measures all systems and prints the table. Nothing it started is left
// when it returns.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ginbench") // short: sockets lie in it
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	ctx, cancel := context.WithCancel(ctx)
	family := &children.Family{Ctx: ctx, Dir: dir}
	defer family.Wait()
	defer cancel() // ends the children
	systems, err := start(family, o)
	if err != nil {
		return err
	}

	turn := func(s *system, d time.Duration) (result, error) {
		if err := family.Failed(); err != nil {
			return result{}, err
		}
		return load(ctx, s, o.connections, d)
	}
	for _, s := range systems { // connections of proxies, heaps, caches
		if s.address != "" {
			if _, err := turn(s, min(o.duration/4, time.Second/2)); err != nil {
				return err
			}
		}
	}
	for round := range o.rounds {
		fmt.Fprintf(stderr, "round %d of %d\n", round+1, o.rounds)
		for i := range systems {
			s := systems[(i+round)%len(systems)] // nobody is always the one after the plugin
			if s.address == "" {
				continue
			}
			r, err := turn(s, o.duration)
			if err != nil {
				return err
			}
			s.results = append(s.results, r)
		}
	}
	return printTable(stdout, systems, o)
}
