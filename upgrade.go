package caddygin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-gin/caddy-gin/ginbridge"
	"github.com/caddy-gin/caddy-gin/listeners/upgrade"
)

// Upgrade says how `caddy gin upgrade` replaces the process by one of a new
// binary.
type Upgrade struct {
	// The path of the new binary, which must be absolute. Default: that of the
	// running process, whatever file is there by then.
	Binary string `json:"binary,omitempty"`

	// How long the new process may take until it is ready to serve. Default:
	// `1m`.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How long the new process must have served until the old one gives up. Until
	// then the old one goes on if the new one ends. Default: `3s`.
	Probation *caddy.Duration `json:"probation,omitempty"`

	// How long requests and streams of the old process may go on after that.
	// Default: `30s`.
	Drain *caddy.Duration `json:"drain,omitempty"`
}

// check checks what does not depend on the system. u may be nil.
func (u *Upgrade) check() error {
	if u == nil {
		return nil
	}
	if u.Binary != "" && !filepath.IsAbs(u.Binary) {
		return fmt.Errorf("upgrade: binary: %q is not an absolute path", u.Binary)
	}
	for name, d := range map[string]*caddy.Duration{"timeout": &u.Timeout, "probation": u.Probation, "drain": u.Drain} {
		if d != nil && *d < 0 {
			return fmt.Errorf("upgrade: %s: %v is negative", name, time.Duration(*d))
		}
	}
	return nil
}

// unmarshal parses the block of the option upgrade.
func (u *Upgrade) unmarshal(d *caddyfile.Dispenser) error {
	if err := noMoreArgs(d); err != nil {
		return err
	}
	duration := func(to *caddy.Duration) error {
		name := d.Val()
		var text string
		if err := oneArg(d, &text); err != nil {
			return err
		}
		value, err := caddy.ParseDuration(text)
		if err != nil || value < 0 {
			return d.Errf("%s: %q is not a duration such as 500ms, 3s or 2m", name, text)
		}
		*to = caddy.Duration(value)
		return nil
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "binary":
			if err = oneArg(d, &u.Binary); err == nil && !filepath.IsAbs(u.Binary) {
				err = d.Errf("binary: %q is not an absolute path", u.Binary)
			}
		case "timeout":
			err = duration(&u.Timeout)
		case "probation":
			u.Probation = new(caddy.Duration)
			err = duration(u.Probation)
		case "drain":
			u.Drain = new(caddy.Duration)
			err = duration(u.Drain)
		default:
			err = d.Errf("unknown option %q of upgrade; the options are: binary, drain, probation, timeout", d.Val())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// options are what the configuration says, or else the defaults. u may be nil.
func (u *Upgrade) options() upgrade.Options {
	o := upgrade.Options{Timeout: upgrade.DefaultTimeout, Probation: upgrade.DefaultProbation, Drain: upgrade.DefaultDrain}
	if u == nil {
		return o
	}
	o.Binary = u.Binary
	if u.Timeout > 0 {
		o.Timeout = time.Duration(u.Timeout)
	}
	if u.Probation != nil {
		o.Probation = time.Duration(*u.Probation)
	}
	if u.Drain != nil {
		o.Drain = time.Duration(*u.Drain)
	}
	return o
}

// upgradeOptions are those of the configuration, or those of a request where it
// has any.
func upgradeOptions(query url.Values) (upgrade.Options, error) {
	var configured *Upgrade
	if a := currentApp(); a != nil {
		configured = a.Upgrade
	}
	o := configured.options()
	for name, values := range query {
		value := values[0]
		var err error
		switch name {
		case "timeout":
			o.Timeout, err = time.ParseDuration(value)
		case "drain":
			o.Drain, err = time.ParseDuration(value)
		case "dry_run":
			if o.DryRun = value == "true"; value != "true" && value != "false" {
				err = errors.New("neither true nor false")
			}
		default:
			return o, refuse(http.StatusBadRequest, "unknown parameter %.100q; the parameters are: drain, dry_run, timeout", name)
		}
		if err != nil || o.Timeout < 0 || o.Drain < 0 {
			return o, refuse(http.StatusBadRequest, "%s: %.100q is not allowed; timeout and drain are durations such as 30s, dry_run is true or false", name, value)
		}
	}
	return o, nil
}

// streamUpgrade replaces the process. The answer is a line of JSON for each
// step. The upgrade goes on if the client does not stay.
func streamUpgrade(w http.ResponseWriter, r *http.Request) error {
	options, err := upgradeOptions(r.URL.Query())
	if err != nil {
		return err
	}
	if err := upgrade.Check(); err != nil {
		return refuse(http.StatusConflict, "%w", err)
	}
	admin, err := upgrade.NewAdmin(r)
	if err != nil {
		return refuse(http.StatusConflict, "%w", err)
	}
	answer := stepWriter{w: w}
	err = upgrade.Run(options, admin, upgradeHooks(), answer.write)
	switch {
	case err != nil && !answer.begun:
		return refuse(http.StatusConflict, "%w", err)
	case err == nil && !options.DryRun:
		go func() {
			<-r.Context().Done() // this request has ended
			upgrade.Leave()
		}()
	}
	return nil
}

// stepWriter writes the steps of an upgrade as they come.
type stepWriter struct {
	w     http.ResponseWriter
	begun bool
}

// write writes an event. What the client makes of it is its own affair.
func (s *stepWriter) write(e upgrade.Event) {
	if !s.begun {
		if e.Step == upgrade.StepFailed {
			return // an error before anything happened is answered as such
		}
		s.begun = true
		s.w.Header().Set("Content-Type", "application/x-ndjson")
		s.w.Header().Set("Cache-Control", "no-store")
	}
	_ = json.NewEncoder(s.w).Encode(e)
	_ = http.NewResponseController(s.w).Flush()
}

// upgradeHooks returns what an upgrade needs of the Gin apps.
func upgradeHooks() upgrade.Hooks {
	var once sync.Once
	return upgrade.Hooks{
		Drain: func() {
			once.Do(func() {
				if a := currentApp(); a != nil {
					a.generation.Drain()
				}
			})
		},
		Streams: func() (n int) {
			for _, g := range ginbridge.Generations() {
				n += g.Hijacked
			}
			return n
		},
		CloseStreams: func() (n int) {
			for _, g := range ginbridge.Generations() {
				if closed, err := ginbridge.CloseStreams(g.ID); err == nil {
					n += closed
				}
			}
			return n
		},
	}
}
