package caddygin

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("gin", parseHandler)
	httpcaddyfile.RegisterDirectiveOrder("gin", httpcaddyfile.Before, "reverse_proxy")
	httpcaddyfile.RegisterGlobalOption("gin", parseApp)
}

func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	gin [<matcher>] <app> {
//	    config {
//	        <key> <value...>
//	        <key> {
//	            <key> <value...>
//	        }
//	    }
//	    fallthrough
//	    base_path                 <path>
//	    timeout                   <duration>
//	    stream_close_delay        <duration>
//	    max_multipart_memory      <size>
//	    redirect_trailing_slash   [true|false]
//	    redirect_fixed_path       [true|false]
//	    handle_method_not_allowed [true|false]
//	    use_raw_path              [true|false]
//	    unescape_path_values      [true|false]
//	    remove_extra_slash        [true|false]
//	    context_with_fallback     [true|false]
//	    templates <glob> {
//	        delims <left> <right>
//	    }
//	}
//
// An app that is a Caddy module of its own with a Caddyfile syntax gets the
// whole config block.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if !d.NextArg() {
		return d.Err("the name of the Gin app is missing: gin <app>")
	}
	name := d.Val()
	if err := ginbridge.CheckName(name); err != nil {
		return d.WrapErr(err)
	}
	if d.NextArg() {
		return d.Errf("unexpected argument %q after the Gin app; options go into a block", d.Val())
	}
	appJSON := caddyconfig.JSONModuleObject(struct{}{}, "name", name, nil)

	flags := map[string]**bool{
		"redirect_trailing_slash":   &h.RedirectTrailingSlash,
		"redirect_fixed_path":       &h.RedirectFixedPath,
		"handle_method_not_allowed": &h.HandleMethodNotAllowed,
		"use_raw_path":              &h.UseRawPath,
		"unescape_path_values":      &h.UnescapePathValues,
		"remove_extra_slash":        &h.RemoveExtraSlash,
		"context_with_fallback":     &h.ContextWithFallback,
	}
	others := map[string]func() error{
		"config": func() (err error) {
			appJSON, err = unmarshalConfig(d, name)
			return err
		},
		"fallthrough": func() error {
			h.Fallthrough = true
			return noMoreArgs(d)
		},
		"base_path": func() error { return oneArg(d, &h.BasePath) },
		"timeout": func() error {
			var text string
			if err := oneArg(d, &text); err != nil {
				return err
			}
			timeout, err := caddy.ParseDuration(text)
			if err != nil || timeout <= 0 {
				return d.Errf("timeout: %q is not a positive duration such as 500ms, 30s or 1h", text)
			}
			h.Timeout = caddy.Duration(timeout)
			return nil
		},
		"stream_close_delay": func() error {
			var text string
			if err := oneArg(d, &text); err != nil {
				return err
			}
			delay, err := caddy.ParseDuration(text)
			if err != nil || delay < 0 {
				return d.Errf("stream_close_delay: %q is not a duration such as 30s, 5m or 1h", text)
			}
			h.StreamCloseDelay = caddy.Duration(delay)
			return nil
		},
		"max_multipart_memory": func() error {
			var text string
			if err := oneArg(d, &text); err != nil {
				return err
			}
			size, err := humanize.ParseBytes(text)
			if err != nil || size > math.MaxInt64 {
				return d.Errf("max_multipart_memory: %q is not a size such as 512KiB or 32MiB", text)
			}
			n := int64(size)
			h.MaxMultipartMemory = &n
			return nil
		},
		"templates": func() error { return h.unmarshalTemplates(d) },
	}

	seen := make(map[string]bool)
	var option string
	for d.NextBlock(0) {
		if d.Val() == "{" && option != "" {
			return d.Errf("%s takes no block", option)
		}
		option = d.Val()
		if seen[option] {
			return d.Errf("option %q of gin is given twice", option)
		}
		seen[option] = true
		var err error
		if field, ok := flags[option]; ok {
			*field, err = parseFlag(d)
		} else if parse, ok := others[option]; ok {
			err = parse()
		} else {
			return d.Errf("unknown option %q of gin; the options are: %s", option,
				strings.Join(slices.Sorted(maps.Keys(merge(flags, others))), ", "))
		}
		if err != nil {
			return err
		}
	}
	h.AppRaw = appJSON
	return nil
}

// unmarshalConfig parses the config block for the app of the given name.
func unmarshalConfig(d *caddyfile.Dispenser, name string) (json.RawMessage, error) {
	info, err := caddy.GetModule(ginbridge.Namespace + "." + name)
	if err != nil {
		return nil, d.WrapErr(err)
	}
	module := info.New()
	if unmarshaler, ok := module.(caddyfile.Unmarshaler); ok {
		if err := unmarshaler.UnmarshalCaddyfile(d.NewFromNextSegment()); err != nil {
			return nil, err
		}
		return moduleJSON(d, module, name)
	}
	if d.NextArg() {
		return nil, d.Errf("config takes a block, not %q", d.Val())
	}
	config, err := parseConfigBlock(d)
	if err != nil {
		return nil, err
	}
	return moduleJSON(d, struct {
		Config map[string]any `json:"config"`
	}{config}, name)
}

func moduleJSON(d *caddyfile.Dispenser, module any, name string) (json.RawMessage, error) {
	var warnings []caddyconfig.Warning
	raw := caddyconfig.JSONModuleObject(module, "name", name, &warnings)
	if len(warnings) > 0 {
		return nil, d.Errf("config of Gin app %q: %s", name, warnings[0].Message)
	}
	return raw, nil
}

func (h *Handler) unmarshalTemplates(d *caddyfile.Dispenser) error {
	h.Templates = new(Templates)
	if err := oneArg(d, &h.Templates.Glob); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "delims" {
			return d.Errf("unknown option %q of templates; the options are: delims", d.Val())
		}
		if h.Templates.Delims = d.RemainingArgs(); len(h.Templates.Delims) != 2 {
			return d.Errf("delims wants a left and a right delimiter, not %d values", len(h.Templates.Delims))
		}
	}
	return nil
}

// parseApp parses the global option gin. Syntax:
//
//	gin {
//	    mode release|debug|test
//	    listener <name> {
//	        <option> [<value>]
//	    }
//	    upgrade {
//	        binary    <path>
//	        timeout   <duration>
//	        probation <duration>
//	        drain     <duration>
//	    }
//	}
func parseApp(d *caddyfile.Dispenser, _ any) (any, error) {
	app := new(App)
	d.Next() // consume option name
	if d.NextArg() {
		return nil, d.Errf("the global option gin takes a block, not %q; a Gin app is served by a gin directive in a site", d.Val())
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "mode":
			if err := oneArg(d, &app.Mode); err != nil {
				return nil, err
			}
			if !slices.Contains(modes, app.Mode) {
				return nil, d.Errf("mode: %q is not one of %s", app.Mode, strings.Join(modes, ", "))
			}
		case "listener":
			if err := app.unmarshalListener(d); err != nil {
				return nil, err
			}
		case "upgrade":
			if app.Upgrade != nil {
				return nil, d.Err("the option upgrade of gin is there twice")
			}
			app.Upgrade = new(Upgrade)
			if err := app.Upgrade.unmarshal(d); err != nil {
				return nil, err
			}
		default:
			return nil, d.Errf("unknown global option %q of gin; the options are: listener, mode, upgrade", d.Val())
		}
	}
	return httpcaddyfile.App{Name: "gin", Value: caddyconfig.JSON(app, nil)}, nil
}

// oneArg sets *value to the only argument of the current option.
func oneArg(d *caddyfile.Dispenser, value *string) error {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Errf("%s wants one value, not %d", option, len(args))
	}
	if args[0] == "" {
		return d.Errf("%s wants a value that is not empty", option)
	}
	*value = args[0]
	return nil
}

func noMoreArgs(d *caddyfile.Dispenser) error {
	if option := d.Val(); d.NextArg() {
		return d.Errf("%s takes no value, but has %q", option, d.Val())
	}
	return nil
}

// parseFlag parses an option that is on when it stands alone.
func parseFlag(d *caddyfile.Dispenser) (*bool, error) {
	option := d.Val()
	on := true
	switch args := d.RemainingArgs(); {
	case len(args) == 0:
	case len(args) == 1 && args[0] == "true":
	case len(args) == 1 && args[0] == "false":
		on = false
	default:
		return nil, d.Errf("%s: %q is not one of true, false", option, strings.Join(args, " "))
	}
	return &on, nil
}

func merge(flags map[string]**bool, others map[string]func() error) map[string]struct{} {
	all := make(map[string]struct{})
	for name := range flags {
		all[name] = struct{}{}
	}
	for name := range others {
		all[name] = struct{}{}
	}
	return all
}

// Interface guards
var _ caddyfile.Unmarshaler = (*Handler)(nil)
