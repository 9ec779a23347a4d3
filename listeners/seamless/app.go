package seamless

import (
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(App))
}

// App opens the sockets of the wrapper's option `h3`, so that a configuration
// is refused if that fails. It is loaded by the wrapper; there is nothing to
// configure.
type App struct {
	wrappers []*Wrapper // appended to while provisioning only

	mu     sync.Mutex // guards opened
	opened []address
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "seamless",
		New: func() caddy.Module { return new(App) },
	}
}

// Start opens the sockets whose ports are known before those of TCP are open.
func (a *App) Start() error {
	for _, w := range a.wrappers {
		for _, at := range w.addressesForHTTP3() {
			if portFollows(at) {
				continue
			}
			if err := a.open(w, at); err != nil {
				_ = a.Stop()
				return err
			}
		}
	}
	return nil
}

// open opens a socket that Stop releases.
func (a *App) open(w *Wrapper, at address) error {
	if err := fronts.open(w.ctx, at); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.opened = append(a.opened, at)
	return nil
}

// started opens the other sockets: nothing can refuse the configuration by
// then.
func (a *App) started(w *Wrapper) {
	for _, at := range w.addressesForHTTP3() {
		if !portFollows(at) {
			continue
		}
		if err := a.open(w, at); err != nil {
			w.log.Error("no HTTP/3", zap.String("address", at.key), zap.Error(err))
		}
	}
}

// Stop gives way to the configuration that goes on, and releases the sockets.
// When the process exits, connections end with the fronts.
func (a *App) Stop() error {
	if caddy.Exiting() {
		return nil
	}
	for _, w := range a.wrappers {
		fronts.replace(w)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.opened {
		fronts.release(at, a.wrappers[0].grace()) // all have that of their configuration
	}
	a.opened = nil
	return nil
}

// Cleanup is Stop for a configuration that failed after it had started.
func (a *App) Cleanup() error { return a.Stop() }

// portFollows reports whether the port of HTTP/3 is that which TCP gets.
func portFollows(at address) bool {
	return at.na.StartPort == 0 || strings.Contains(at.na.Host, "fallback=")
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
