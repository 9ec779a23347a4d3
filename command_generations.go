package caddygin

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func generationsCommand() *cobra.Command {
	c := new(adminClient)
	var id uint64
	cmd := c.command(&cobra.Command{
		Use:   "generations [--close <id>] [--json] [--address <interface>] [--config <path> [--adapter <name>]]",
		Short: "Lists the configurations that are live, and those that still drain",
		Long: `
Lists the generations: the configuration that is live, and those before it that
still have requests or streams. REQUESTS are those in flight, STREAMS those of
them that have no end of their own, HIJACKED the connections that handlers took
over, as WebSockets are, and OLDEST is how long the oldest of these two has been
there. One that has nothing stays for two seconds, after HTTP/3 for fifteen.

During 'caddy gin upgrade' the other process is there too, as successor or
predecessor; REQUESTS are its connections then.

With --close, the streams and hijacked connections of one that drains are ended.
` + adminHelp + readExits,
		Example: `  $ caddy gin generations
  $ caddy gin generations --close 4
  $ caddy gin generations --json | jq '.[].held'`,
	}, func(cmd *cobra.Command) (int, error) {
		if cmd.Flags().Changed("close") {
			return closeGeneration(c, cmd.OutOrStdout(), id)
		}
		return show(c, cmd.OutOrStdout(), "/gin/generations", printGenerations)
	})
	cmd.Flags().Uint64Var(&id, "close", 0, "End the streams of the generation with this ID")
	return cmd
}

func printGenerations(w io.Writer, infos []generationInfo) error {
	if len(infos) == 0 {
		_, err := io.WriteString(w, "no configuration with a Gin app is live or drains\n")
		return err
	}
	t := table{columns: []column{
		{name: "ID", right: true}, {name: "STATE"}, {name: "PID", right: true}, {name: "AGE", right: true}, {name: "DRAINING", right: true},
		{name: "REQUESTS", right: true}, {name: "STREAMS", right: true}, {name: "HIJACKED", right: true},
		{name: "OLDEST", right: true}, {name: "HASH"}, {name: "APPS", shorten: atEnd},
	}}
	anotherProcess := func(i generationInfo) bool { return i.ID == 0 }
	several := slices.ContainsFunc(infos, anotherProcess)
	for _, i := range infos {
		id, pid := strconv.FormatUint(i.ID, 10), ""
		if anotherProcess(i) {
			id = ""
		}
		if several {
			pid = strconv.Itoa(i.PID)
		}
		t.add(id, i.State, pid, age(i.Started), age(i.Drained), strconv.Itoa(i.Requests),
			strconv.Itoa(i.Streams), strconv.Itoa(i.Hijacked), age(i.OldestStream), i.Hash, strings.Join(i.Apps, " "))
	}
	return t.write(w, terminalWidth(w))
}

func closeGeneration(c *adminClient, w io.Writer, id uint64) (code int, err error) {
	if err := c.resolve(); err != nil {
		return exitWrong, err
	}
	var ended closed
	body, err := c.post(closePath(id), &ended)
	switch {
	case err != nil:
	case c.json:
		err = printJSON(w, body)
	default:
		_, err = fmt.Fprintf(w, "generation %d: %s being ended\n", id, countOf(ended.Closed, "stream is", "streams are"))
	}
	if err != nil {
		return exitRefused, err
	}
	return 0, nil
}

func closePath(id uint64) string { return fmt.Sprintf("/gin/generations/%d/close", id) }

// countOf writes a number of things.
func countOf[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
