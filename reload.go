package caddygin

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/seamless"
)

// configs knows the generations of configurations by the channels Done of
// their contexts, from provisioning until they are released, and what the
// current one consists of. Guarded by its mutex.
var configs = struct {
	sync.Mutex
	generations map[<-chan struct{}]uint64
	current     *summary
}{generations: make(map[<-chan struct{}]uint64)}

// generationOf returns the ID of a configuration's generation.
func generationOf(config <-chan struct{}) (id uint64, ok bool) {
	configs.Lock()
	defer configs.Unlock()
	id, ok = configs.generations[config]
	return id, ok
}

// summary is what a configuration consists of, for telling what a reload
// changed.
type summary struct {
	generation uint64
	settings   string            // the global option gin
	apps       map[string]string // handlers by what names them in the log
	sockets    []string
}

// add adds a handler as the configuration has it.
func (s *summary) add(name string, raw []byte) { s.apps[name] += string(raw) + "\n" }

// hash tells the configuration from others: it is of the global option gin and
// all handlers, placeholders not replaced.
func (s *summary) hash() string {
	h := sha256.New()
	h.Write([]byte(s.settings))
	for _, name := range slices.Sorted(maps.Keys(s.apps)) {
		h.Write([]byte("\n" + name + "\n" + s.apps[name]))
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// summarise is called when all handlers have been provisioned.
func (a *App) summarise() *summary {
	s := &summary{generation: a.generation.ID(), apps: make(map[string]string)}
	if raw, err := json.Marshal(a); err == nil {
		s.settings = string(raw)
	}
	for _, h := range a.handlers {
		s.add(h.name, h.raw)
	}
	return s
}

// report logs what the configuration is, or how it differs from the one
// before. It waits for the configuration to become current, as it may still be
// given up, and gives up with it.
func (a *App) report(took time.Duration) {
	for wait := 50 * time.Microsecond; !a.live(); wait = min(2*wait, 10*time.Millisecond) {
		select {
		case <-a.generation.Draining():
			return
		case <-time.After(wait):
		}
	}
	reloadDuration.Observe(took.Seconds())
	now := a.summary
	for _, s := range listeners.Sockets() {
		if slices.Contains(s.Configs, a.ctx.Done()) {
			now.sockets = append(now.sockets, s.Transport+" "+s.Bound)
		}
	}
	configs.Lock()
	before := configs.current
	configs.current = now
	configs.Unlock()

	log := a.ctx.Logger(a)
	fields := []zap.Field{zap.Uint64("generation", now.generation), zap.Duration("took", took)}
	if before == nil {
		log.Info("serving", append(fields,
			zap.Strings("apps", slices.Sorted(maps.Keys(now.apps))), zap.Strings("sockets", now.sockets))...)
		return
	}
	fields = append(fields, zap.Uint64("before", before.generation), zap.Int64("carried_connections", a.carried()))
	log.Info("reloaded", append(fields, now.changes(before)...)...)
}

// carried returns how many connections were carried over to the configuration.
func (a *App) carried() (n int64) {
	for _, front := range seamless.Addresses() {
		if slices.Contains(front.Configs, a.ctx.Done()) {
			n += front.Carried
		}
	}
	return n
}

// changes names what is different from another configuration.
func (s *summary) changes(before *summary) (fields []zap.Field) {
	add := func(key string, values []string) {
		if len(values) > 0 {
			slices.Sort(values)
			fields = append(fields, zap.Strings(key, values))
		}
	}
	var added, changed []string
	for name, raw := range s.apps {
		switch old, was := before.apps[name]; {
		case !was:
			added = append(added, name)
		case old != raw:
			changed = append(changed, name)
		}
	}
	add("apps_added", added)
	add("apps_changed", changed)
	add("apps_removed", without(slices.Collect(maps.Keys(before.apps)), slices.Collect(maps.Keys(s.apps))))
	add("sockets_added", without(s.sockets, before.sockets))
	add("sockets_removed", without(before.sockets, s.sockets))
	if s.settings != before.settings {
		fields = append(fields, zap.Bool("settings_changed", true))
	}
	if len(fields) == 0 {
		fields = append(fields, zap.Bool("gin_unchanged", true))
	}
	return fields
}

// without returns those of a that b does not have.
func without(a, b []string) (rest []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			rest = append(rest, s)
		}
	}
	return rest
}
