package caddygin

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// watchInterval is the default of --interval, and watchShortest the least.
const (
	watchInterval = time.Second
	watchShortest = 100 * time.Millisecond
)

func listenersCommand() *cobra.Command {
	c := new(adminClient)
	var watch bool
	var interval time.Duration
	cmd := c.command(&cobra.Command{
		Use:   "listeners [--watch [--interval <duration>]] [--json] [--address <interface>] [--config <path> [--adapter <name>]]",
		Short: "Lists the sockets of a running Caddy, with their connections and queues",
		Long: `
Lists the sockets of the networks of this plugin (ipv4/, ipv6/, dual/, unixsock/,
systemd/), as the kernel has them: where they are bound, the connections that
are open (of how many that maxconn allows) and that were accepted so far, how
many wait in the accept queue and how many may, the generations that use the
socket, how many connections the last reload carried over ("-" without the
listener wrapper seamless), and the address as it is configured. The state is
"retiring" for a socket that another one replaces; the UDP socket of several
addresses is bound to all, but gets packets "only to" these. Addresses in Caddy's
own networks are not listed.

With --watch, the list is drawn again and again until it is interrupted, with
the connections accepted per second since the time before. Where the output is
no terminal, lists follow each other, with a blank line in between. A server
that does not answer is waited for. Caddy logs each request to its admin API.
` + adminHelp + readExits,
		Example: `  $ caddy gin listeners
  $ caddy gin listeners --watch --interval 5s
  $ caddy gin listeners --json | jq '.listeners[] | {bound, options}'`,
	}, func(cmd *cobra.Command) (int, error) {
		if !watch {
			if cmd.Flags().Changed("interval") {
				return exitWrong, fmt.Errorf("--interval is for --watch, which is missing")
			}
			return show(c, cmd.OutOrStdout(), "/gin/listeners", func(w io.Writer, info listenersInfo) error {
				return printListeners(w, info, nil, terminalWidth(w))
			})
		}
		if interval < watchShortest {
			return exitWrong, fmt.Errorf("--interval: %v is shorter than %v", interval, watchShortest)
		}
		return watchListeners(c, cmd.OutOrStdout(), interval)
	})
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "Draw the list again and again, until it is interrupted")
	cmd.Flags().DurationVar(&interval, "interval", watchInterval, "Time between two lists of --watch")
	return cmd
}

// printListeners prints sockets; rate tells the connections per second of one,
// unless it is nil.
func printListeners(w io.Writer, info listenersInfo, rate func(socketInfo) string, width int) error {
	if len(info.Listeners) == 0 {
		_, err := io.WriteString(w, "there is no socket of this plugin's networks (ipv4/, ipv6/, dual/, unixsock/, systemd/)\n")
		return err
	}
	t := table{columns: []column{
		{name: "BOUND"}, {name: "PROTO"}, {name: "OPEN", right: true}, {name: "ACCEPTED", right: true}, {name: "PER S", right: true},
		{name: "PAUSED", right: true}, {name: "QUEUE", right: true}, {name: "GENERATIONS"}, {name: "CARRIED", right: true},
		{name: "PERMISSIONS"}, {name: "STATE"}, {name: "CONFIGURED", shorten: atEnd},
	}}
	for _, s := range info.Listeners {
		var open, accepted, paused, perSecond, queue, permissions, state string
		if n := s.Connections; n != nil {
			open, accepted = strconv.FormatInt(n.Open, 10), strconv.FormatUint(n.Accepted, 10)
			if n.MaxConn > 0 {
				open += "/" + strconv.FormatInt(n.MaxConn, 10)
				paused = strconv.FormatUint(n.Paused, 10)
			}
			if rate != nil {
				perSecond = rate(s)
			}
		}
		if s.Queue != nil {
			queue = fmt.Sprintf("%d/%d", s.Queue.Depth, s.Queue.Limit)
		}
		if p := s.Permissions; p != nil {
			permissions = fmt.Sprintf("%s:%s %s", nameOr(p.Owner, p.UID), nameOr(p.Group, p.GID), p.Mode)
		}
		if s.Retiring {
			state = "retiring"
		}
		if len(s.PacketsTo) > 0 {
			state = "only to " + strings.Trim(fmt.Sprint(s.PacketsTo), "[]")
		}
		carried := "-"
		if s.Seamless {
			carried = strconv.FormatInt(s.Carried, 10)
		}
		ids := strings.Trim(fmt.Sprint(s.Generations), "[]")
		t.add(s.Bound, s.Transport, open, accepted, perSecond, paused, queue, ids, carried, permissions, state, s.Asked)
	}
	if err := t.write(w, width); err != nil || info.Host == nil {
		return err
	}
	_, err := fmt.Fprintf(w, "host: %d overflows of accept queues, %d connections dropped by listening sockets\n", info.Host.Overflows, info.Host.Drops)
	return err
}

func nameOr(name string, id int) string {
	if name == "" {
		return strconv.Itoa(id)
	}
	return name
}
