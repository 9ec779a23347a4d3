package upgrade

import (
	"time"
)

// Options say how to upgrade.
type Options struct {
	// Binary is the path of the new binary. Default: that of the running
	// process, whatever is there now.
	Binary string
	// Timeout is how long the new process may take until it is ready to serve.
	// Default: a minute.
	Timeout time.Duration
	// Probation is how long the new process must have served before the old one
	// gives up. Default: 3 seconds.
	Probation time.Duration
	// Drain is how long requests and streams of the old process may go on.
	// Default: 30 seconds.
	Drain time.Duration
	// DryRun ends the new process as soon as it is ready.
	DryRun bool
}

// The defaults of [Options].
const (
	DefaultTimeout   = time.Minute
	DefaultProbation = 3 * time.Second
	DefaultDrain     = 30 * time.Second
)

// Step is a step of an upgrade.
type Step string

// The steps of an upgrade, in their order. An upgrade ends with StepDone or
// StepFailed; a dry run has StepReady before that, and nothing in between.
const (
	StepStarted  Step = "started"  // the new process runs
	StepLoaded   Step = "loaded"   // its configuration works
	StepReady    Step = "ready"    // it has everything that it needs
	StepServing  Step = "serving"  // it accepts connections; the old process does not
	StepReleased Step = "released" // the old process has given up; it drains
	StepDone     Step = "done"     // the old process is about to end, or a dry run is over
	StepFailed   Step = "failed"   // the old process goes on
)

// Event tells of a step.
type Event struct {
	Step Step `json:"step"`
	// After is the time since the upgrade was asked for, in seconds.
	After float64 `json:"after"`
	// PID is the process ID of the new process. It is not there before StepStarted.
	PID int `json:"pid,omitempty"`
	// Version is that of the new binary, as it says itself.
	Version string `json:"version,omitempty"`
	// Error is why the upgrade failed.
	Error string `json:"error,omitempty"`
	// Result comes with StepDone.
	Result *Result `json:"result,omitempty"`
}

// Result is what an upgrade did.
type Result struct {
	DryRun        bool     `json:"dry_run,omitempty"`
	Binary        string   `json:"binary"`
	OldPID        int      `json:"old_pid"`
	NewPID        int      `json:"new_pid"`
	OldVersion    string   `json:"old_version"`
	NewVersion    string   `json:"new_version"`
	Listeners     int      `json:"listeners"`       // sockets that were handed over
	Shared        int      `json:"shared"`          // of Caddy's own network tcp, each process with a socket
	Moved         int64    `json:"moved"`           // idle connections that went over
	Drained       int64    `json:"drained"`         // connections and streams that ended by themselves
	ClosedByLimit int64    `json:"closed_by_limit"` // that were closed because the drain limit was over
	Warnings      []string `json:"warnings,omitempty"`
}

// Hooks are what an upgrade needs of the Gin apps. Each may be nil.
type Hooks struct {
	// Drain tells the apps of this process that they are being replaced.
	Drain func()
	// Streams returns how many streams (WebSockets, event streams) this process
	// has.
	Streams func() int
	// CloseStreams ends them, and returns how many it were.
	CloseStreams func() int
}
