package upgrade

import "sync/atomic"

// Process is another process of the same service.
type Process struct {
	PID     int
	Role    string // "predecessor" or "successor"
	Version string // that it says it is; "" if it did not say
	Working
}

// Working is what a process that drains still has.
type Working struct {
	Connections int `json:"connections"`
	Streams     int `json:"streams"` // hijacked connections
}

// What this process knows of its neighbours; nil for none.
var predecessor, successorOf atomic.Pointer[Process]

// Processes returns the processes before and after this one that live. Safe for
// concurrent use.
func Processes() []Process {
	var all []Process
	for _, p := range []*Process{predecessor.Load(), successorOf.Load()} {
		if p != nil {
			all = append(all, *p)
		}
	}
	return all
}
