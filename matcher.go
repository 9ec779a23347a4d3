package caddygin

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() {
	caddy.RegisterModule(new(MatchRoute))
}

// MatchRoute matches requests that a route of a Gin app would handle, or that
// the app would answer with a redirect to a route. None of the app's handlers
// and middleware run for that.
//
// The app's routes can depend on its configuration, so the app must be served
// by a `gin` handler somewhere in the same configuration; if there are several,
// the routes of any of them match, below their base paths.
type MatchRoute struct {
	// The names of the apps; any of them may match. Required.
	Apps []string `json:"apps,omitempty"`

	app    *App
	mounts func() []*ginbridge.Mount
}

// CaddyModule returns the Caddy module information.
func (*MatchRoute) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.gin_route",
		New: func() caddy.Module { return new(MatchRoute) },
	}
}

// Provision checks the names of the apps.
func (m *MatchRoute) Provision(ctx caddy.Context) error {
	if len(m.Apps) == 0 {
		return errors.New("the name of a Gin app is missing")
	}
	for _, name := range m.Apps {
		if err := ginbridge.CheckName(name); err != nil {
			return err
		}
	}
	app, err := loadApp(ctx)
	if err != nil {
		return err
	}
	m.app = app
	app.matchers = append(app.matchers, m)
	// the handlers may be provisioned after this matcher
	m.mounts = sync.OnceValue(func() []*ginbridge.Mount {
		var mounts []*ginbridge.Mount
		for _, name := range m.Apps {
			mounts = append(mounts, app.generation.Mounts(name)...)
		}
		return mounts
	})
	return nil
}

// check is called when all handlers are provisioned.
func (m *MatchRoute) check() error {
	for _, name := range m.Apps {
		if len(m.app.generation.Mounts(name)) == 0 {
			return fmt.Errorf("gin_route: the Gin app %q is not served by any gin handler of this configuration", name)
		}
	}
	return nil
}

// MatchWithError returns true if an app would handle the request.
func (m *MatchRoute) MatchWithError(r *http.Request) (bool, error) {
	for _, mount := range m.mounts() {
		if mount.Handles(r) {
			return true, nil
		}
	}
	return false, nil
}

// CELLibrary makes the matcher usable in expressions:
//
//	expression gin_route('shop')
func (*MatchRoute) CELLibrary(ctx caddy.Context) (cel.Library, error) {
	return caddyhttp.CELMatcherImpl(
		"gin_route", "gin_route_match_request_list",
		[]*cel.Type{cel.ListType(cel.StringType)},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			names, err := data.ConvertToNative(reflect.TypeFor[[]string]())
			if err != nil {
				return nil, err
			}
			m := &MatchRoute{Apps: names.([]string)}
			return m, m.Provision(ctx)
		},
	)
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Syntax:
//
//	gin_route <app...>
func (m *MatchRoute) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	for d.Next() {
		names := d.RemainingArgs()
		if len(names) == 0 {
			return d.ArgErr()
		}
		for _, name := range names {
			if err := ginbridge.CheckName(name); err != nil {
				return d.WrapErr(err)
			}
		}
		m.Apps = append(m.Apps, names...)
		if d.NextBlock(0) {
			return d.Err("gin_route takes no block")
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Module                      = (*MatchRoute)(nil)
	_ caddy.Provisioner                 = (*MatchRoute)(nil)
	_ caddyfile.Unmarshaler             = (*MatchRoute)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchRoute)(nil)
	_ caddyhttp.CELLibraryProducer      = (*MatchRoute)(nil)
)
