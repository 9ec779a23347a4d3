package ginbridge

import (
	"slices"
	"time"

	"go.uber.org/zap"
)

// GenerationInfo tells what uses a generation.
type GenerationInfo struct {
	// ID is that of Generation.ID.
	ID uint64 `json:"id"`

	// Apps are the names of the apps that are mounted, in order.
	Apps []string `json:"apps"`

	// Hash tells the configuration from others, see SetHash.
	Hash string `json:"hash,omitempty"`

	// Started is when the configuration became live.
	Started time.Time `json:"started,omitzero"`

	// Drained is when the configuration was replaced or the process began to
	// stop. It is zero while the configuration is live.
	Drained time.Time `json:"drained,omitzero"`

	// Requests is the number of requests whose handlers have not returned.
	Requests int `json:"requests"`

	// Streams is the number of those of Requests whose answer has no end of
	// its own: event streams, and WebSockets over HTTP/2.
	Streams int `json:"streams"`

	// Hijacked is the number of open connections that handlers took over, such
	// as WebSockets. Their handlers may have returned.
	Hijacked int `json:"hijacked"`

	// OldestStream is when the oldest of Streams and Hijacked began.
	OldestStream time.Time `json:"oldest_stream,omitzero"`

	// Held is what is released with the configuration.
	Held Held `json:"held"`
}

// Held is what a generation holds.
type Held struct {
	// Shared are the types of its values of [Shared], which others may hold, too.
	// Their keys are kept back: there may be passwords in them.
	Shared []string `json:"shared"`

	// Releasers is the number of functions given to App.OnRelease, the bridge's
	// own included: one for each app and each shared value.
	Releasers int `json:"releasers"`

	// Goroutines is the number of functions given to App.Go.
	Goroutines int `json:"goroutines"`
}

// Generations returns those that are live or draining, the oldest first.
func Generations() []GenerationInfo {
	generationsMu.Lock()
	all := slices.Clone(generations)
	generationsMu.Unlock()
	infos := make([]GenerationInfo, len(all))
	for i, g := range all {
		infos[i] = g.Info()
	}
	return infos
}

// Info tells what uses the generation.
func (g *Generation) Info() GenerationInfo {
	info := GenerationInfo{ID: g.id, Apps: []string{}, Requests: requests(g.refs.Load())}
	g.mu.Lock()
	defer g.mu.Unlock()
	info.Hash, info.Started, info.Drained = g.hash, g.startedAt, g.drainedAt
	info.Held = Held{Shared: []string{}, Releasers: len(g.releasers), Goroutines: len(g.tasks)}
	for k := range g.shared {
		info.Held.Shared = append(info.Held.Shared, k.typ.String())
	}
	slices.Sort(info.Held.Shared)
	for _, m := range g.mounts {
		info.Apps = append(info.Apps, m.app.name)
	}
	slices.Sort(info.Apps)
	info.Apps = slices.Compact(info.Apps)
	for s := range g.streams {
		if info.OldestStream.IsZero() || s.since.Before(info.OldestStream) {
			info.OldestStream = s.since
		}
		if s.kind == hijacked {
			info.Hijacked++
		} else {
			info.Streams++
		}
	}
	return info
}

// logUse tells what still uses a generation that has been drained for a
// while. It is false if that is nothing worth telling.
func (g *Generation) logUse() bool {
	info := g.Info()
	if info.Requests == 0 && info.Hijacked == 0 {
		return false
	}
	g.logger.Info("an earlier configuration still has streams or requests",
		zap.Uint64("generation", info.ID), zap.Strings("apps", info.Apps),
		zap.Int("hijacked", info.Hijacked), zap.Int("streams", info.Streams), zap.Int("requests", info.Requests))
	return true
}

// logEnd is for a generation whose logUse was true.
func (g *Generation) logEnd() {
	g.mu.Lock()
	drained := g.drainedAt
	g.mu.Unlock()
	g.logger.Info("the last streams and requests of an earlier configuration have ended",
		zap.Uint64("generation", g.id), zap.Duration("after", time.Since(drained)))
}
