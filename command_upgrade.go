package caddygin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-gin/caddy-gin/listeners/upgrade"
)

// exitFailed is the exit code of `caddy gin upgrade` if the upgrade failed and
// the process goes on as before.
const exitFailed = 3

// upgrader is `caddy gin upgrade`.
type upgrader struct {
	adminClient
	timeout, drain time.Duration
	dryRun         bool
}

func upgradeCommand() *cobra.Command {
	u := new(upgrader)
	cmd := u.command(&cobra.Command{
		Use:   "upgrade [--timeout <duration>] [--drain <duration>] [--dry-run] [--json] [--address <interface>] [--config <path> [--adapter <name>]]",
		Short: "Replaces the process of a running Caddy by one of a new binary, without losing a request",
		Long: `
Has the running Caddy start the binary that is at its own path now (or at the
one that the global option 'gin { upgrade { binary PATH } }' names), hand its
sockets, its idle connections and its configuration over to that process, and
leave. Clients notice nothing. Put the new binary there first, by renaming it:

  mv caddy.new /usr/bin/caddy && caddy gin upgrade

The new process must load the running configuration and serve for a probation
of 3 seconds ('probation'). If it fails before that is over, the old process
goes on as if nothing had happened, and its last words are printed. After it,
the old process ends when its last requests and streams have, or when --drain is
over. The command waits for that.

While an upgrade is under way, configurations are not loaded.

Exit codes:
  0  the new process has taken over, or with --dry-run, could have
  1  refused, and nothing was done; or no Caddy answers, or the old process
     was killed meanwhile
  2  a flag is wrong
  3  failed, and the process that ran before goes on
`,
		Example: `  $ caddy gin upgrade
  $ caddy gin upgrade --dry-run
  $ caddy gin upgrade --drain 5m --json`,
	}, func(cmd *cobra.Command) (int, error) { return u.run(cmd) })
	flags := cmd.Flags()
	flags.DurationVar(&u.timeout, "timeout", upgrade.DefaultTimeout, "How long the new process may take until it is ready, if not as configured")
	flags.DurationVar(&u.drain, "drain", upgrade.DefaultDrain, "How long requests and streams of the old process may go on, if not as configured")
	flags.BoolVar(&u.dryRun, "dry-run", false, "End the new process as soon as it is ready")
	return cmd
}

func (u *upgrader) run(cmd *cobra.Command) (code int, err error) {
	query := make(url.Values)
	for name, d := range map[string]time.Duration{"timeout": u.timeout, "drain": u.drain} {
		if d < 0 {
			return exitWrong, fmt.Errorf("--%s: %v is negative", name, d)
		}
		if cmd.Flags().Changed(name) {
			query.Set(name, d.String())
		}
	}
	if u.dryRun {
		query.Set("dry_run", "true")
	}
	if err := u.resolve(); err != nil {
		return exitWrong, err
	}
	path := (&url.URL{Path: "/gin/upgrade", RawQuery: query.Encode()}).String()
	resp, err := caddycmd.AdminAPIRequest(u.address, http.MethodPost, path, http.Header{"Connection": {"close"}}, nil)
	if err != nil {
		return exitRefused, u.explain("/gin/upgrade", err.Error())
	}
	defer func() { _ = resp.Body.Close() }()
	return u.follow(resp.Body, cmd.OutOrStdout())
}

// follow prints the steps as they come.
func (u *upgrader) follow(steps io.Reader, w io.Writer) (code int, err error) {
	var last upgrade.Event
	lines := bufio.NewScanner(steps)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e upgrade.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return exitRefused, fmt.Errorf("the answer is not that of this version of the plugin: %w", err)
		}
		text := lines.Text() + "\n"
		if !u.json {
			text = describe(e)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return exitRefused, err
		}
		last = e
	}
	switch last.Step {
	case upgrade.StepDone:
		return 0, nil
	case upgrade.StepFailed:
		return exitFailed, fmt.Errorf("the process that ran before goes on: %s", last.Error)
	case upgrade.StepReleased:
		return exitRefused, errors.New("the new process has taken over, and the old one ended without saying how; see its log")
	}
	return exitRefused, fmt.Errorf("the answer ended after the step %q; see the log", last.Step)
}

// describe says what a step means.
func describe(e upgrade.Event) string {
	after := fmt.Sprintf("%7.3fs  ", e.After)
	switch e.Step {
	case upgrade.StepStarted:
		return after + fmt.Sprintf("process %d started, version %s\n", e.PID, shortVersion(e.Version))
	case upgrade.StepLoaded:
		return after + "it has loaded the configuration\n"
	case upgrade.StepReady:
		return after + "it is ready, and has the admin endpoint\n"
	case upgrade.StepServing:
		return after + "it serves; on probation\n"
	case upgrade.StepReleased:
		return after + "it has taken over; the old process drains\n"
	case upgrade.StepDone:
		return describeResult(after, e.Result)
	}
	return ""
}

func describeResult(after string, r *upgrade.Result) string {
	if r.DryRun {
		return after + fmt.Sprintf("dry run: %s could take over; it has been ended\n", r.Binary)
	}
	text := after + fmt.Sprintf("done: process %d (version %s) instead of %d (version %s)\n", r.NewPID, shortVersion(r.NewVersion), r.OldPID, shortVersion(r.OldVersion))
	text += "          " + strings.Join([]string{
		countOf(r.Listeners, "listener", "listeners") + " handed over",
		countOf(r.Moved, "idle connection", "idle connections") + " moved",
		fmt.Sprintf("%d drained", r.Drained),
		fmt.Sprintf("%d closed by the limit", r.ClosedByLimit),
	}, ", ") + "\n"
	for _, warning := range r.Warnings {
		text += "          warning: " + warning + "\n"
	}
	return text
}

// shortVersion is a version without its checksum.
func shortVersion(version string) string {
	if before, _, ok := strings.Cut(version, " h1:"); ok {
		return before
	}
	return version
}

// reapCommand is what process 1 becomes in a container when it has been replaced.
func reapCommand() *cobra.Command {
	return &cobra.Command{
		Use:    upgrade.ReapCommand + " <pid>",
		Short:  "Waits for the process that has replaced process 1",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			pid, err := strconv.Atoi(args[0])
			if err != nil || os.Getpid() != 1 {
				return errors.New("this is for process 1, after an upgrade")
			}
			os.Exit(upgrade.Reap(pid))
			return nil
		},
	}
}
