package upgrade

import (
	"encoding/json"

	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/steer"
)

// protocol is the version of the messages. Processes of different versions do
// not work together.
const protocol = 1

// kind says what a message is about.
type kind string

// What the successor says.
const (
	hello    kind = "hello"    // it knows the protocol
	loaded   kind = "loaded"   // the configuration runs, behind closed gates and without the admin endpoint
	ready    kind = "ready"    // with the admin endpoint
	serving  kind = "serving"  // the gates are open
	owns     kind = "owns"     // it has written the file with its process ID
	released kind = "released" // it depends on the predecessor no more
	took     kind = "took"     // what became of a connection
	failed   kind = "failed"   // the reason; it is about to end
	stop     kind = "stop"     // an operator has told it to stop, over the admin API
)

// What the predecessor says.
const (
	welcome kind = "welcome" // the configuration, and what else to begin with
	bequest kind = "bequest" // sockets; as many of them as welcome says
	load    kind = "load"    // the admin endpoint is free
	commit  kind = "commit"  // open the gates
	own     kind = "own"     // write the file with the process ID
	release kind = "release" // the point of no return
	conn    kind = "conn"    // an idle connection
	working kind = "working" // what it still has
)

// message is a message of either side. Descriptors travel beside it.
type message struct {
	Kind kind            `json:"kind"`
	Body json.RawMessage `json:"body,omitempty"`
}

type helloBody struct {
	Protocol int    `json:"protocol"`
	Version  string `json:"version"`
}

// welcomeBody comes with two descriptors: the configuration, and the standard
// error stream.
type welcomeBody struct {
	Args     []string           `json:"args"`    // for the command line, to which --config is added
	File     string             `json:"file"`    // that the configuration was read from first; may be ""
	Adapter  string             `json:"adapter"` // that it was read by
	Version  string             `json:"version"`
	Mark     steer.Mark         `json:"mark"`     // see seamless.SetMark
	PIDFile  string             `json:"pid_file"` // to be written as own says; "" for none
	Files    int                `json:"files"`    // how many descriptors of sockets follow
	Handover listeners.Handover `json:"handover"`
}

type loadBody struct {
	AdminSocket string `json:"admin_socket,omitempty"` // the address, if it has a file
}

type readyBody struct {
	Taken []listeners.Target `json:"taken"`
	Plain []string           `json:"plain"` // fronts that take idle connections
}

type connBody struct {
	ID  uint64 `json:"id"`
	Key string `json:"key"`
}

type tookBody struct {
	ID    uint64 `json:"id"`
	Error string `json:"error,omitempty"`
}

type failedBody struct {
	Error string `json:"error"`
}
