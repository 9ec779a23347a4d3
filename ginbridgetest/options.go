package ginbridgetest

import (
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	caddygin "github.com/caddy-gin/caddy-gin"
)

// Option changes how an app is run.
type Option func(*settings)

type settings struct {
	app       string
	directive caddygin.Handler
	server    func(*caddyhttp.Server)
	patience  time.Duration
}

// WithDirective sets options of the directive, such as BasePath and Timeout.
// AppRaw is set by [New].
func WithDirective(directive caddygin.Handler) Option {
	return func(s *settings) { s.directive = directive }
}

// WithServer has change called for each configuration, before it is
// provisioned, with the server that has the directive as its only route: to
// add trusted proxies, error routes, or handlers before and after it. The
// packages of the modules it names must be imported. Addresses are not
// listened on.
func WithServer(change func(*caddyhttp.Server)) Option {
	return func(s *settings) { s.server = change }
}

// WithPatience sets how long the app may take at the end of the test to let go
// of what it uses. Default: ten seconds.
func WithPatience(d time.Duration) Option {
	return func(s *settings) { s.patience = d }
}
