package storm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Protocol is how clients reach a server.
type Protocol string

// The protocols.
const (
	HTTP1 Protocol = "http1"
	TLS   Protocol = "tls" // HTTP/1.1 over TLS
	HTTP2 Protocol = "http2"
	Curl  Protocol = "curl" // HTTP/2 by the program of that name: its library has nothing in common with Go's
	HTTP3 Protocol = "http3"
	Unix  Protocol = "unix" // HTTP/1.1 over a Unix socket
)

// Protocols has all protocols.
func Protocols() []Protocol { return []Protocol{HTTP1, TLS, HTTP2, Curl, HTTP3, Unix} }

// Behaviour is what clients do.
type Behaviour string

// The behaviours.
const (
	Connect   Behaviour = "connect"   // a new connection for each request
	KeepAlive Behaviour = "keepalive" // one request after the other on a connection
	Think     Behaviour = "think"     // the same with 0 to 5 ms in between
	Post      Behaviour = "post"      // the same with requests that must not be repeated
	Upload    Behaviour = "upload"    // a request body that takes some 300 ms
	Download  Behaviour = "download"  // an answer that takes some 300 ms to be read
	WebSocket Behaviour = "websocket" // messages, each after the answer to the one before
	Events    Behaviour = "events"    // an endless stream of server-sent events
	Idle      Behaviour = "idle"      // a request every second
)

// Behaviours has all behaviours.
func Behaviours() []Behaviour {
	return []Behaviour{Connect, KeepAlive, Think, Post, Upload, Download, WebSocket, Events, Idle}
}

// Speaks tells whether clients can do this over a protocol.
func (p Protocol) Speaks(b Behaviour) bool {
	switch p {
	case Curl: // which does one request after the other as it is told at its start
		return b == KeepAlive || b == Post || b == Download
	case HTTP2, HTTP3:
		return b != WebSocket
	}
	return slices.Contains(Protocols(), p)
}

// Load is a number of clients that do the same.
type Load struct {
	Protocol  Protocol  `json:"protocol"`
	Behaviour Behaviour `json:"behaviour"`

	// Address is a host and a port, or the path of a Unix socket.
	Address string `json:"-"`
	// Path replaces the path of the behaviour.
	Path string `json:"-"`
	// Clients is the number of clients. Each has a connection of its own, except
	// over HTTP/2 and HTTP/3, where four share one unless they are idle or want
	// new ones.
	Clients int `json:"clients"`
	// Seed makes the clients' pauses repeatable.
	Seed uint64 `json:"-"`
	// Repeats lets clients repeat what HTTP allows them to: see the documentation
	// of the package.
	Repeats bool `json:"-"`
}

func (l Load) String() string { return string(l.Protocol) + " " + string(l.Behaviour) }

func (l Load) check() error {
	switch {
	case !slices.Contains(Protocols(), l.Protocol):
		return fmt.Errorf("unknown protocol %q", l.Protocol)
	case !slices.Contains(Behaviours(), l.Behaviour):
		return fmt.Errorf("unknown behaviour %q", l.Behaviour)
	case !l.Protocol.Speaks(l.Behaviour):
		return fmt.Errorf("there is no %s over %s", l.Behaviour, l.Protocol)
	case l.Clients < 1:
		return fmt.Errorf("%v has %d clients, must be at least 1", l, l.Clients)
	}
	return nil
}

// sharing is the number of clients that have one connection together.
func (l Load) sharing() int {
	multiplexes := l.Protocol == HTTP2 || l.Protocol == HTTP3
	if !multiplexes || l.Behaviour == Idle || l.Behaviour == Connect {
		return 1
	}
	return 4
}

// Greeting is what a configuration greets with.
func Greeting(number int) string { return fmt.Sprintf("storm %06d.", number) }

var greeting = regexp.MustCompile(`^storm \d{6}\.$`)

// isGreeting tells whether this is all of a greeting.
func isGreeting(body string) bool { return greeting.MatchString(strings.TrimSuffix(body, "\n")) }
