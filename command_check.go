package caddygin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// Exit codes of `caddy gin check`.
const (
	exitBlocked = 1
	exitWrong   = 2
)

// errFound makes the exit code 1 without a message.
var errFound = errors.New("something is in the way")

// defaultCheckPort is the port of an address that has none: that of a site of
// which a Caddyfile says no more than its name.
const defaultCheckPort = 443

// checkOptions are the flags of `caddy gin check`.
type checkOptions struct {
	port            uint16
	json, http3     bool
	config, adapter string
}

func checkCommand() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check [--json] [--port <port>] [--h3] [--config <path> [--adapter <name>]] [<address>...]",
		Short: "Tells whether addresses can be bound, and if not, who is in the way",
		Long: `
Tells what listening on an address would bind, whether that can be done now, and
if not why not: who holds the port, which right is missing, what to do about it.

It is a dry run, and needs no running Caddy. Each socket is tried in such a way
that nobody can connect to it and no other program loses a connection; no file
is made or removed. What it finds is true for the user, the capabilities and the
network of this command: run it as Caddy is run.

An address is written as after 'bind', in a network of this plugin (ipv4/,
ipv6/, dual/, unixsock/, systemd/) or in one of Caddy's own for TCP and UDP, with
a port after it. Without one it is checked at --port.

Without an address, those of all servers of --config are checked, with the
port 80 of automatic HTTPS and the UDP ports of HTTP/3; addresses in networks
that are neither are named and passed over. The configuration is provisioned as
by 'caddy validate', so it has to be valid. With addresses, --config is where
their option 'use' finds its sets of options.

A Caddy that runs is in the way of its own addresses. If the holder is one of
this same program, a note says that a reload of it shares its sockets.

Exit codes:
  0  all can be bound
  1  something is in the way
  2  an address is wrong, or the configuration
`,
		Example: `  $ caddy gin check ipv4/192.0.2.10:80
  $ caddy gin check --port 8080 ipv4/eth0 'ipv6/[::1]' dual/
  $ caddy gin check 'ipv4/eth0?freebind&backlog=4096:443' --h3
  $ caddy gin check 'unixsock//run/shop/app.sock?group=www-data&mkdir=0750|0660'
  $ sudo -u caddy caddy gin check --config /etc/caddy/Caddyfile
  $ caddy gin check --json :80 | jq '.[].targets[].diagnosis.holders'`,
		RunE: func(cmd *cobra.Command, addresses []string) error {
			code, err := o.run(cmd, addresses)
			if code == 0 {
				return nil
			}
			return exit(cmd, code, err)
		},
		DisableFlagsInUseLine: true,
	}
	flags := cmd.Flags()
	flags.Uint16VarP(&o.port, "port", "p", defaultCheckPort, "Port of addresses that have none")
	flags.BoolVarP(&o.json, "json", "j", false, "Print an array of JSON objects, one for each address")
	flags.BoolVar(&o.http3, "h3", false, "Check the UDP sockets of HTTP/3 too")
	flags.StringVarP(&o.config, "config", "c", "", "Configuration file")
	flags.StringVarP(&o.adapter, "adapter", "a", "", "Name of the config adapter to apply to the configuration")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return exit(cmd, exitWrong, err) })
	return cmd
}

// run returns the exit code, and the error that goes before a report.
func (o checkOptions) run(cmd *cobra.Command, addresses []string) (int, error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var config checkConfig
	var err error
	switch {
	case o.config != "":
		if config, err = loadCheckConfig(o.config, o.adapter); err != nil {
			return exitWrong, fmt.Errorf("reading the configuration: %w", err)
		}
	case o.adapter != "":
		return exitWrong, errors.New("--adapter is for the file of --config, which is missing")
	case len(addresses) == 0:
		return exitWrong, errors.New("an address is missing, or --config: caddy gin check ipv4/:80")
	}
	reports := make([]listeners.Report, 0, len(addresses))
	if len(addresses) == 0 {
		reports = config.check(ctx)
	}
	for _, address := range addresses {
		check := listeners.Check
		if o.http3 {
			check = listeners.CheckHTTP3
		}
		reports = append(reports, check(ctx, address, uint(o.port), config.sets))
	}
	if err := printReports(cmd.OutOrStdout(), reports, o.json); err != nil {
		return exitWrong, err
	}
	return checkCode(reports), nil
}

func printReports(w io.Writer, reports []listeners.Report, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "\t")
		return encoder.Encode(reports)
	}
	if len(reports) == 0 {
		_, err := fmt.Fprintln(w, "the configuration has no listen addresses")
		return err
	}
	for _, r := range reports {
		if _, err := r.WriteTo(w); err != nil {
			return err
		}
	}
	return nil
}

// checkCode returns the exit code for all reports, the worst one.
func checkCode(reports []listeners.Report) int {
	code := 0
	for _, r := range reports {
		switch {
		case r.Error != "":
			return exitWrong
		case !r.OK():
			code = exitBlocked
		}
	}
	return code
}
