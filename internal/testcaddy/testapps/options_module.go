package testapps

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() { caddy.RegisterModule(new(OptModule)) }

// OptModule is an app written as a module by hand.
type OptModule struct {
	Word  string `json:"word,omitempty"`
	Times int    `json:"times,omitempty"`

	provisioned bool
}

// CaddyModule returns the Caddy module information.
func (*OptModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "gin.apps.opt-module", New: func() caddy.Module { return new(OptModule) }}
}

// Provision sets the defaults.
func (m *OptModule) Provision(caddy.Context) error {
	if m.Times == 0 {
		m.Times = 1
	}
	m.provisioned = true
	return nil
}

// Validate refuses a module without a word.
func (m *OptModule) Validate() error {
	if m.Word == "" || !m.provisioned {
		return errors.New("opt-module has no word to say")
	}
	return nil
}

// BuildEngine implements [ginbridge.EngineBuilder].
func (m *OptModule) BuildEngine(app *ginbridge.App) (*gin.Engine, error) {
	r := app.NewEngine()
	r.GET("/say", func(c *gin.Context) {
		for range m.Times {
			c.String(http.StatusOK, "%s!", m.Word)
		}
	})
	return r, nil
}

// UnmarshalCaddyfile sets up the app from its config block:
//
//	config <word> {
//	    times <n>
//	}
func (m *OptModule) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "config"
	if !d.Args(&m.Word) {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		if d.Val() != "times" {
			return d.Errf("unknown option %q of opt-module", d.Val())
		}
		var text string
		if !d.Args(&text) {
			return d.ArgErr()
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return d.WrapErr(err)
		}
		m.Times = n
	}
	return nil
}

// Interface guards
var (
	_ ginbridge.EngineBuilder = (*OptModule)(nil)
	_ caddy.Provisioner       = (*OptModule)(nil)
	_ caddy.Validator         = (*OptModule)(nil)
	_ caddyfile.Unmarshaler   = (*OptModule)(nil)
)
