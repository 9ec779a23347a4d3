package listeners

import "github.com/prometheus/procfs"

// Overflow is how often accept queues were full. The host counts, over all
// TCP sockets of the network namespace, not only those of this process.
type Overflow struct {
	// Overflows is how often a connection was not taken into a full accept
	// queue (ListenOverflows): the client tries again, or gives up.
	Overflows uint64 `json:"listen_overflows"`
	// Drops is how often a connection was refused by a listening socket for
	// whatever reason, overflows included (ListenDrops).
	Drops uint64 `json:"listen_drops"`
}

// Overflows returns what the host has counted since it was started, or since
// the network namespace of the process was made. It is false where the system
// has no such counters, as other than Linux. Safe for concurrent use.
func Overflows() (Overflow, bool) {
	self, err := procfs.Self()
	if err != nil {
		return Overflow{}, false
	}
	stat, err := self.Netstat()
	if err != nil || stat.ListenOverflows == nil || stat.ListenDrops == nil {
		return Overflow{}, false
	}
	return Overflow{Overflows: uint64(*stat.ListenOverflows), Drops: uint64(*stat.ListenDrops)}, true
}
