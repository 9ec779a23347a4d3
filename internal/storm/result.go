package storm

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Result is what became of a load. It is complete when [Run] returns.
type Result struct {
	Load

	// Requests counts what was answered and what failed. A message of a
	// WebSocket, and an event of a stream, count as one each.
	Requests int64 `json:"requests"`
	// Failed counts the failures of each kind.
	Failed map[Kind]int64 `json:"failed,omitempty"`
	// Errors has the first error of each kind.
	Errors map[Kind]string `json:"errors,omitempty"`

	// Repeated counts the requests that the server did not process and that
	// were made again. They are not failures, nor in Requests.
	Repeated int64 `json:"repeated,omitempty"`
	// Unreplayable counts those that could not be made again for want of the
	// body. They are not in Failed, nor in Requests.
	Unreplayable int64 `json:"unreplayable,omitempty"`
	// Greeted has what clients were greeted with. Those of the protocol curl do
	// not tell.
	Greeted map[string]Sighting `json:"-"`

	// Opened counts the connections that clients opened.
	Opened int64 `json:"opened"`
	// ClosedByServer counts those that ended, or were announced to end, though
	// the client would have used them again.
	ClosedByServer int64 `json:"closed_by_server"`
	// Goodbyes counts the streams that the app ended by saying so.
	Goodbyes int64 `json:"goodbyes"`

	// Calm and Storm have the latencies of answers before the storm and during
	// it. That of an event is the time since the one before.
	Calm  Histogram `json:"calm"`
	Storm Histogram `json:"storm"`

	mu sync.Mutex // guards all but Load while clients are running
}

// Sighting is when a greeting was seen last.
type Sighting struct {
	// Request is when the last request began that it answered.
	Request time.Time
	// Connection is when the last connection was begun on which it was seen.
	Connection time.Time
}

// Failures is the number of failed requests.
func (r *Result) Failures() (n int64) {
	for _, count := range r.Failed {
		n += count
	}
	return n
}

// Problems describes all failures and closed connections in one line. It is ""
// if there are none.
func (r *Result) Problems() string {
	var parts []string
	for _, kind := range slices.SortedFunc(maps.Keys(r.Failed), cmp.Compare) {
		parts = append(parts, fmt.Sprintf("%d %s (%s)", r.Failed[kind], kind, r.Errors[kind]))
	}
	if r.ClosedByServer > 0 {
		parts = append(parts, fmt.Sprintf("%d connections closed by the server", r.ClosedByServer))
	}
	return strings.Join(parts, ", ")
}

func (r *Result) answered(latency time.Duration, calm, storm bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Requests++
	switch {
	case storm:
		r.Storm.add(latency)
	case calm: // the time before says more of the clients
		r.Calm.add(latency)
	}
}

func (r *Result) failed(kind Kind, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Requests++
	if r.Failed == nil {
		r.Failed, r.Errors = make(map[Kind]int64), make(map[Kind]string)
	}
	r.Failed[kind]++
	if r.Errors[kind] == "" {
		r.Errors[kind] = err.Error()
	}
}

// greeted notes the answer to a request, which began at a time, on a connection
// that was begun at another.
func (r *Result) greeted(greeting string, request, connection time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Greeted == nil {
		r.Greeted = make(map[string]Sighting)
	}
	seen := r.Greeted[greeting]
	if request.After(seen.Request) {
		seen.Request = request
	}
	if connection.After(seen.Connection) {
		seen.Connection = connection
	}
	r.Greeted[greeting] = seen
}

// count adds one to a counter of the result.
func (r *Result) count(counter *int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*counter++
}
