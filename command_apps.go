package caddygin

import (
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// adminHelp is part of the help of all commands that ask the admin API.
const adminHelp = `
It asks a running Caddy by its admin API, whose address is that of --address, or
of the configuration file of --config, or else Caddy's default.
`

// readExits is the end of the help of those that only read.
const readExits = `
Exit codes:
  0  printed
  1  no Caddy answers, or with an error
  2  a flag is wrong, or the configuration file
`

func appsCommand() *cobra.Command {
	c := new(adminClient)
	return c.command(&cobra.Command{
		Use:   "apps [--json] [--address <interface>] [--config <path> [--adapter <name>]]",
		Short: "Lists the Gin apps of a running Caddy",
		Long: `
Lists the Gin apps of the current configuration, each place on a line of its own:
the server, the hosts and paths of the matchers on the way, the generation of
the configuration, how many requests are in flight, how many of these are event
streams, and how many connections handlers have taken over, as WebSockets are.
` + adminHelp + readExits,
		Example: `  $ caddy gin apps
  $ caddy gin apps --json | jq '.[].config'`,
	}, func(cmd *cobra.Command) (int, error) {
		return show(c, cmd.OutOrStdout(), "/gin/apps", printApps)
	})
}

func printApps(w io.Writer, infos []appInfo) error {
	if len(infos) == 0 {
		_, err := io.WriteString(w, "the current configuration has no Gin app\n")
		return err
	}
	t := table{columns: []column{
		{name: "APP"}, {name: "SITE", shorten: atEnd}, {name: "REQUESTS", right: true}, {name: "STREAMS", right: true},
		{name: "HIJACKED", right: true}, {name: "GENERATION", right: true}, {name: "AGE", right: true},
		{name: "SERVER"}, {name: "LISTEN", shorten: atEnd},
	}}
	for _, i := range infos {
		t.add(i.App, i.site(), strconv.Itoa(i.Requests), strconv.Itoa(i.Streams), strconv.Itoa(i.Hijacked),
			strconv.FormatUint(i.Generation, 10), age(i.Since), i.Server, strings.Join(i.Listen, " "))
	}
	return t.write(w, terminalWidth(w))
}

// site names the hosts and paths that lead to the place.
func (p place) site() string {
	hosts := strings.Join(p.Hosts, ",")
	if hosts == "" {
		hosts = "*"
	}
	return hosts + p.Path
}

func routesCommand() *cobra.Command {
	c := new(adminClient)
	var app string
	cmd := c.command(&cobra.Command{
		Use:   "routes [--app <name>] [--json] [--address <interface>] [--config <path> [--adapter <name>]]",
		Short: "Lists the routes of the Gin apps of a running Caddy",
		Long: `
Lists the routes of the Gin apps of the current configuration, with what they
have answered since the process started: requests, those of them that failed
(5xx or broken off), and estimates of the median and the 99th percentile of the
time that handlers took. MW is the number of handlers before the last one.
` + adminHelp + readExits,
		Example: `  $ caddy gin routes
  $ caddy gin routes --app shop
  $ caddy gin routes --json | jq -r '.[] | select(.errors > 0) | .pattern'`,
	}, func(cmd *cobra.Command) (int, error) {
		path := "/gin/routes"
		if app != "" {
			path += "?app=" + url.QueryEscape(app)
		}
		return show(c, cmd.OutOrStdout(), path, printRoutes)
	})
	cmd.Flags().StringVar(&app, "app", "", "Only the routes of this app")
	return cmd
}

func printRoutes(w io.Writer, infos []ginbridge.RouteInfo) error {
	if len(infos) == 0 {
		_, err := io.WriteString(w, "there is no route\n")
		return err
	}
	t := table{columns: []column{
		{name: "APP"}, {name: "METHOD"}, {name: "PATTERN", shorten: atEnd}, {name: "REQUESTS", right: true},
		{name: "ERRORS", right: true}, {name: "P50", right: true}, {name: "P99", right: true},
		{name: "MW", right: true}, {name: "HANDLER", shorten: atStart},
	}}
	for _, i := range infos {
		t.add(i.App, i.Method, i.Pattern, strconv.FormatUint(i.Requests, 10), strconv.FormatUint(i.Errors, 10),
			quantileText(i.P50), quantileText(i.P99), strconv.Itoa(i.Middleware), i.Handler)
	}
	return t.write(w, terminalWidth(w))
}

func quantileText(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return shortDuration(time.Duration(*seconds * float64(time.Second)))
}
