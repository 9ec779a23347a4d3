package caddygin

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// exitDraining is the exit code of `caddy gin reload` if the wait was over
// before the earlier configurations had drained.
const exitDraining = 3

const (
	// reloadWait is the default of --wait.
	reloadWait = 30 * time.Second

	// closeWait is how long it is waited once more after --close-streams has
	// ended streams: longer than a configuration without users is kept.
	closeWait = 20 * time.Second

	// drainPoll is the time between two looks at what drains.
	drainPoll = 200 * time.Millisecond
)

// reloader is `caddy gin reload`.
type reloader struct {
	adminClient
	moved               string // where the new configuration has the admin endpoint, until it is used
	force, closeStreams bool
	wait                time.Duration
	report              reloadReport
	out                 io.Writer
}

func reloadCommand() *cobra.Command {
	r := new(reloader)
	cmd := r.command(&cobra.Command{
		Use:   "reload [--config <path> [--adapter <name>]] [--address <interface>] [--force] [--wait <duration>] [--close-streams] [--json]",
		Short: "Changes the config of a running Caddy, waits for the one before to drain, and tells what happened",
		Long: `
Gives the running Caddy a new configuration as 'caddy reload' does, and waits
until those before it have drained: until their last requests and streams have
ended, and what they held is released. That takes two seconds at least, after
HTTP/3 fifteen. It prints the generation of the new configuration and its hash,
how long the load took, how many connections the listener wrapper seamless has
carried over, and what is left of the configurations before.

Without --config it takes the Caddyfile of the current folder. Caddy does
nothing if the configuration is the one that it has, unless there is --force.

With --wait 0 it does not wait. With --close-streams, the streams and hijacked
connections that are left after the wait are ended, and it waits once more, for
20 seconds at most.

Exit codes:
  0  loaded, or unchanged; the configurations before have drained if they were
     waited for
  1  refused, and the configuration before goes on; or no Caddy answers
  2  a flag is wrong, or the configuration file
  3  loaded, but when the wait was over, configurations before still drained, or
     the admin endpoint did not tell
`,
		Example: `  $ caddy gin reload
  $ caddy gin reload --config /etc/caddy/Caddyfile --wait 5m
  $ caddy gin reload --wait 1m --close-streams
  $ caddy gin reload --json --wait 0 | jq .generation`,
	}, func(cmd *cobra.Command) (int, error) {
		r.out = cmd.OutOrStdout()
		return r.run()
	})
	flags := cmd.Flags()
	flags.Lookup("config").Usage = "Configuration file, if not the Caddyfile of the current folder"
	flags.Lookup("adapter").Usage = "Name of config adapter to apply"
	flags.Lookup("address").Usage = "Address of the administration listener, if different from config"
	flags.BoolVarP(&r.force, "force", "f", false, "Force config reload, even if it is the same")
	flags.DurationVar(&r.wait, "wait", reloadWait, "How long to wait for the configurations before to drain")
	flags.BoolVar(&r.closeStreams, "close-streams", false, "End the streams that are left when the wait is over")
	return cmd
}

func (r *reloader) run() (code int, err error) {
	if r.wait < 0 {
		return exitWrong, fmt.Errorf("--wait: %v is negative; 0 is not to wait", r.wait)
	}
	config, file, adapter, err := caddycmd.LoadConfig(r.config, r.adapter)
	if err != nil {
		return exitWrong, err
	}
	if file == "" {
		return exitWrong, errors.New("there is no Caddyfile in the current folder: name the configuration file by --config")
	}
	if r.moved, err = caddycmd.DetermineAdminAPIAddress("", config, file, r.adapter); err != nil {
		return exitWrong, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	if r.address == "" {
		r.address = r.moved
	}
	if err := r.use(r.address); err != nil {
		return exitWrong, err
	}
	var before []generationInfo
	if _, err := r.get("/gin/generations", &before); err != nil {
		return exitRefused, err
	}
	if err := r.load(config, file, adapter); err != nil {
		return exitRefused, err
	}
	err = r.follow(before)
	if r.json {
		err = errors.Join(err, r.report.writeJSON(r.out))
	}
	switch {
	case err != nil:
		return exitDraining, fmt.Errorf("the configuration is loaded, but what became of the ones before is not known: %w", err)
	case len(r.report.Draining) > 0 && (r.wait > 0 || r.closeStreams):
		return exitDraining, nil // what does has been printed
	}
	return 0, nil
}

// load posts the configuration.
func (r *reloader) load(config []byte, file, adapter string) error {
	header := http.Header{"Caddy-Config-Source-File": {file}, "Caddy-Config-Source-Adapter": {adapter}}
	if r.force {
		header.Set("Cache-Control", "must-revalidate")
	}
	begun := time.Now()
	_, err := r.do(http.MethodPost, "/load", header, config)
	r.report.LoadSeconds = time.Since(begun).Seconds()
	if err != nil && !errors.As(err, new(noAnswerError)) {
		return fmt.Errorf("refused, the configuration before goes on: %w", err)
	}
	return err
}

// follow tells what became of the configuration that was loaded, and of those
// before it.
func (r *reloader) follow(before []generationInfo) error {
	now, err := r.generations()
	if err != nil {
		return err
	}
	current, last := liveOf(now), liveOf(before)
	r.report.Generation, r.report.Hash = current.ID, current.Hash
	if r.report.Unchanged = current.ID != 0 && current.ID == last.ID; r.report.Unchanged {
		r.say("unchanged: generation %d goes on\n", current.ID)
		return nil
	}
	r.report.Carried = current.Carried
	r.report.Draining = r.older(now)
	r.say("%s", r.report.loaded())
	if err := r.drain(r.wait); err != nil || len(r.report.Draining) == 0 || !r.closeStreams {
		return err
	}
	if err := r.close(); err != nil {
		return err
	}
	return r.drain(closeWait)
}

// drain waits until the configurations before have drained, or for as long as
// it may.
func (r *reloader) drain(wait time.Duration) error {
	begun := time.Now()
	if wait > 0 && len(r.report.Draining) > 0 {
		r.say("waiting up to %v: %s\n", wait, r.report.remaining())
	}
	for len(r.report.Draining) > 0 && time.Since(begun) < wait {
		time.Sleep(min(drainPoll, wait-time.Since(begun)))
		now, err := r.generations()
		if err != nil {
			return err
		}
		r.report.Draining = r.older(now)
	}
	took := time.Since(begun)
	r.report.WaitSeconds += took.Seconds()
	switch {
	case len(r.report.Draining) > 0 && wait == 0:
		r.say("still there: %s\n", r.report.remaining())
	case len(r.report.Draining) > 0:
		r.say("not drained after %v: %s\n", wait, r.report.remaining())
	case wait > 0:
		r.say("drained after %s\n", shortDuration(took))
	}
	return nil
}

// close ends the streams of the configurations before.
func (r *reloader) close() error {
	var failed error
	for _, g := range r.report.Draining {
		var ended closed
		if _, err := r.post(closePath(g.ID), &ended); err != nil {
			failed = err // unless it has drained meanwhile
		}
		r.report.Closed += ended.Closed
	}
	r.say("ended %s\n", countOf(r.report.Closed, "stream", "streams"))
	now, err := r.generations()
	if err != nil {
		return err
	}
	if r.report.Draining = r.older(now); len(r.report.Draining) == 0 {
		return nil
	}
	return failed
}

func (r *reloader) generations() (infos []generationInfo, err error) {
	_, err = r.get("/gin/generations", &infos)
	if errors.As(err, new(noAnswerError)) && r.moved != "" && r.moved != r.address {
		if err := r.use(r.moved); err != nil {
			return nil, err
		}
		r.moved = ""
		_, err = r.get("/gin/generations", &infos)
	}
	return infos, err
}

// older returns those that drain and are older than the one that was loaded.
func (r *reloader) older(infos []generationInfo) (old []generationInfo) {
	limit := r.report.Generation
	if limit == 0 { // the configuration has no Gin app
		limit = math.MaxUint64
	}
	for _, g := range infos {
		if g.ID < limit && !g.Drained.IsZero() {
			old = append(old, g)
		}
	}
	return old
}

func (r *reloader) say(format string, args ...any) {
	if !r.json {
		_, _ = fmt.Fprintf(r.out, format, args...)
	}
}

// liveOf returns the generation that is live; its ID is 0 if there is none.
func liveOf(infos []generationInfo) (live generationInfo) {
	for _, g := range infos {
		if g.ID > 0 && g.Drained.IsZero() {
			live = g
		}
	}
	return live
}
