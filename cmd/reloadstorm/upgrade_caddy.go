package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"syscall"
	"time"
)

func (c *caddyServer) upgrade(ctx context.Context, number int) (phases, error) {
	if !c.seamless {
		return c.replace(ctx, number)
	}
	p, err := c.command(ctx)
	if err != nil {
		return p, c.line.failure(err)
	}
	return p, c.site.answers(ctx, number)
}

// command upgrades as users do.
func (c *caddyServer) command(ctx context.Context) (p phases, err error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.site.self, "gin", "upgrade", "--json", "--address", "unix/"+c.socket)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.site.Dir, &stdout, &stderr
	before := time.Now()
	err = cmd.Run()
	p.whole = time.Since(before)
	if err != nil {
		return p, fmt.Errorf("caddy gin upgrade: %w\n%s\n%s", err, &stderr, &stdout)
	}
	events := json.NewDecoder(&stdout)
	for {
		var event struct {
			Step  string  `json:"step"`
			After float64 `json:"after"` // seconds
			PID   int     `json:"pid"`

			Result struct {
				Moved         int64    `json:"moved"`
				ClosedByLimit int64    `json:"closed_by_limit"`
				Warnings      []string `json:"warnings"`
			} `json:"result"`
		}
		if err := events.Decode(&event); errors.Is(err, io.EOF) {
			return p, errors.New("caddy gin upgrade was never done")
		} else if err != nil {
			return p, fmt.Errorf("reading what caddy gin upgrade printed: %w", err)
		}
		switch after := time.Duration(event.After * float64(time.Second)); event.Step {
		case "ready":
			p.ready = after
		case "serving":
			p.serving = after - p.ready
		case "done":
			if len(event.Result.Warnings) > 0 {
				return p, fmt.Errorf("caddy gin upgrade warned: %q", event.Result.Warnings)
			}
			p.moved, p.aborted = event.Result.Moved, event.Result.ClosedByLimit
			return p, c.line.follow(event.PID)
		}
	}
}

// replace starts a process of the same configuration on the same ports, and ends
// the old one, as is done with SO_REUSEPORT.
func (c *caddyServer) replace(_ context.Context, number int) (p phases, err error) {
	before, old := time.Now(), c.child
	if err := c.start(number); err != nil {
		return p, err
	}
	if err := c.site.Await("Caddy", c.loaded); err != nil {
		return p, err
	}
	p.ready = time.Since(before)
	err = old.End(syscall.SIGTERM)
	p.whole = time.Since(before)
	return p, err
}

// loaded returns nil if the process has its configuration: the admin endpoint
// answers this question once it has been loaded.
func (c *caddyServer) loaded(ctx context.Context) error {
	config, err := c.call(ctx, http.MethodGet, "/config/apps/http", nil)
	if err == nil && len(bytes.TrimSpace(config)) < len("null ") {
		err = fmt.Errorf("the configuration is %q", config)
	}
	return err
}
