package testapps

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(SeamFail))
	caddy.RegisterModule(new(SeamCleanup))
	caddy.RegisterModule(new(SeamMark))
	httpcaddyfile.RegisterHandlerDirective("seam_mark", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		m := new(SeamMark)
		h.Next() // consume directive name
		if !h.Args(&m.Value) {
			return nil, h.ArgErr()
		}
		return m, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("seam_mark", httpcaddyfile.Before, "respond")
}

// SeamFail is a Caddy app that fails.
type SeamFail struct {
	At      string `json:"at"`      // "provision" or "start"
	Network string `json:"network"` // start waits for an address of the same configuration to be open
	Address string `json:"address"`
}

// CaddyModule returns the Caddy module information.
func (*SeamFail) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "seam_fail", New: func() caddy.Module { return new(SeamFail) }}
}

// Provision implements [caddy.Provisioner].
func (f *SeamFail) Provision(caddy.Context) error {
	if f.At == "provision" {
		return errors.New("seam_fail fails to be provisioned")
	}
	return nil
}

// Start implements [caddy.App]. Apps start in any order, so that it may wait
// in vain.
func (f *SeamFail) Start() error {
	for range 50 {
		if conn, err := net.Dial(f.Network, f.Address); err == nil {
			_ = conn.Close()
			return errors.New("seam_fail fails to start, after the listeners are open")
		}
		time.Sleep(5 * time.Millisecond)
	}
	return errors.New("seam_fail fails to start")
}

// Stop implements [caddy.App].
func (*SeamFail) Stop() error { return nil }

// SeamCleanup is a Caddy app whose clean-up makes a file named cleaning and
// lasts until there is one named cleaned.
type SeamCleanup struct {
	Dir string `json:"dir"`
}

// CaddyModule returns the Caddy module information.
func (*SeamCleanup) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "seam_cleanup", New: func() caddy.Module { return new(SeamCleanup) }}
}

// Start implements [caddy.App].
func (*SeamCleanup) Start() error { return nil }

// Stop implements [caddy.App].
func (*SeamCleanup) Stop() error { return nil }

// Cleanup implements [caddy.CleanerUpper].
func (c *SeamCleanup) Cleanup() error {
	if err := os.WriteFile(filepath.Join(c.Dir, "cleaning"), nil, 0o600); err != nil {
		return err
	}
	for range 6000 {
		if _, err := os.Stat(filepath.Join(c.Dir, "cleaned")); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.New("nobody ended the clean-up")
}

// SeamMark is a handler that tells by a header which configuration's function
// of ConnContext has seen the connection.
type SeamMark struct {
	Value string `json:"value"`
}

type seamMarkKey struct{}

// CaddyModule returns the Caddy module information.
func (*SeamMark) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.seam_mark", New: func() caddy.Module { return new(SeamMark) }}
}

// Provision implements [caddy.Provisioner].
func (m *SeamMark) Provision(ctx caddy.Context) error {
	ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server).RegisterConnContext(func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, seamMarkKey{}, m.Value)
	})
	return nil
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (*SeamMark) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	mark, _ := r.Context().Value(seamMarkKey{}).(string)
	w.Header().Set("Seam-Mark", mark)
	return next.ServeHTTP(w, r)
}
