package caddygin

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// reloadReport is what `caddy gin reload --json` prints.
type reloadReport struct {
	// Unchanged tells that Caddy had this configuration already.
	Unchanged bool `json:"unchanged"`

	// Generation is the ID of the configuration's generation, 0 if it has no
	// Gin app, and Hash what tells it from others.
	Generation uint64 `json:"generation"`
	Hash       string `json:"hash,omitempty"`

	// Carried is how many connections were carried over from the configuration
	// before.
	Carried int64 `json:"carried"`

	// LoadSeconds is the time that loading took, and WaitSeconds the wait
	// afterwards.
	LoadSeconds float64 `json:"load_seconds"`
	WaitSeconds float64 `json:"wait_seconds"`

	// Closed is how many streams --close-streams ended.
	Closed int `json:"closed"`

	// Draining are the configurations before that had not drained at the end,
	// as in GET /gin/generations.
	Draining []generationInfo `json:"draining"`
}

func (r reloadReport) writeJSON(w io.Writer) error {
	if r.Draining == nil {
		r.Draining = []generationInfo{}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	return encoder.Encode(r)
}

// loaded says what was loaded.
func (r reloadReport) loaded() string {
	took := shortDuration(time.Duration(r.LoadSeconds * float64(time.Second)))
	if r.Generation == 0 {
		return "loaded in " + took + ": a configuration without a Gin app\n"
	}
	return fmt.Sprintf("loaded in %s: generation %d, hash %s\ncarried over: %s\n",
		took, r.Generation, r.Hash, countOf(r.Carried, "connection", "connections"))
}

// remaining says what the configurations before still have.
func (r reloadReport) remaining() string {
	var texts []string
	for _, g := range r.Draining {
		texts = append(texts, fmt.Sprintf("generation %d has %s", g.ID, inUse(g)))
	}
	return strings.Join(texts, "; ")
}

// inUse says what keeps a generation. The handler of a hijacked connection is
// among the requests until it returns.
func inUse(g generationInfo) string {
	var uses []string
	if g.Requests > 0 {
		text := countOf(g.Requests, "request", "requests") + " in flight"
		if g.Streams > 0 {
			text += " (" + countOf(g.Streams, "stream", "streams") + ")"
		}
		uses = append(uses, text)
	}
	if g.Hijacked > 0 {
		uses = append(uses, countOf(g.Hijacked, "hijacked connection", "hijacked connections"))
	}
	if len(uses) == 0 {
		return "no request or stream, and is about to be released"
	}
	text := strings.Join(uses, ", ")
	if !g.OldestStream.IsZero() {
		text += ", the oldest for " + age(g.OldestStream)
	}
	return text
}
