package seamless

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(new(Wrapper))
}

// Wrapper makes configuration reloads invisible to clients: connections live
// on, and each request is served by the configuration that is current when it
// arrives. It works with TLS and without, HTTP/1.1 and HTTP/2, on any network.
//
// It must be the last listener wrapper of a server. With the networks ipv4,
// ipv6, dual, unixsock and systemd, the accept queue is kept too.
type Wrapper struct {
	// Whether the wrapper serves HTTP/3 too, so that a reload loses no request
	// there either; the server's own, which does, must be off (`protocols h1
	// h2`). It is announced by Alt-Svc, and has no effect without TLS.
	// Default: false.
	HTTP3 bool `json:"h3,omitempty"`

	app      *App
	ctx      caddy.Context
	server   *caddyhttp.Server
	policies string // see policiesOf
	// what Caddy makes of the policies
	tlsConfig func() *tls.Config
	log       *zap.Logger

	mu        sync.Mutex // guards the rest
	addresses []address  // in the order in which Caddy opens them
	members   []*member
}

// CaddyModule returns the Caddy module information.
func (*Wrapper) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.listeners.seamless",
		New: func() caddy.Module { return new(Wrapper) },
	}
}

// logModule has a configuration's logs include or exclude the package's logger.
type logModule struct{}

// CaddyModule returns the logger's name; it is not registered.
func (logModule) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "gin.seamless"} }

// Provision checks the wrapper's place and hooks it up with its server.
func (w *Wrapper) Provision(ctx caddy.Context) error {
	w.ctx = ctx
	w.log = ctx.Logger(logModule{})
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return errors.New("seamless is a listener wrapper of HTTP servers only")
	}
	w.server = server
	if err := isLast(server.ListenerWrappersRaw); err != nil {
		return err
	}
	var err error
	if w.policies, err = policiesOf(server); err != nil {
		return err
	}
	w.tlsConfig = sync.OnceValue(func() *tls.Config { return server.TLSConnPolicies.TLSConfig(ctx) })
	server.RegisterConnContext(recognise)
	// when a configuration fails late, its modules are cleaned up in any order
	context.AfterFunc(ctx, w.leave)
	if err := w.checkHTTP3(); err != nil {
		return err
	}
	val, err := ctx.App("seamless")
	if err != nil {
		return err
	}
	w.app = val.(*App)
	w.app.wrappers = append(w.app.wrappers, w)
	if val, err = ctx.App("events"); err != nil {
		return err
	}
	return val.(*caddyevents.App).On("started", started{w})
}

// isLast checks that no wrapper follows this one.
func isLast(wrappers []json.RawMessage) error {
	for i, raw := range wrappers {
		var module struct {
			Wrapper string `json:"wrapper"`
		}
		if err := json.Unmarshal(raw, &module); err != nil {
			return err
		}
		if module.Wrapper != "seamless" || i == len(wrappers)-1 {
			continue
		}
		var next struct {
			Wrapper string `json:"wrapper"`
		}
		_ = json.Unmarshal(wrappers[i+1], &next)
		return fmt.Errorf("listener wrapper seamless must be the last one of its server, and %s follows it: it keeps the connections for itself, so that one would never see any", next.Wrapper)
	}
	return nil
}

// WrapListener implements [caddy.ListenerWrapper].
func (w *Wrapper) WrapListener(ln net.Listener) net.Listener {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.addresses == nil {
		w.addresses = w.addressesOf()
	}
	at := address{key: ln.Addr().Network() + "/" + ln.Addr().String(), http1: true, http2: true, tls: isTLS(ln)}
	if n := len(w.members); n < len(w.addresses) {
		at = w.addresses[n]
	}
	w.warn(at)
	m := &member{wrapper: w, address: at, ln: ln, stopped: make(chan struct{}), learned: make(chan struct{})}
	w.members = append(w.members, m)
	fronts.join(m)
	return &parked{member: m}
}

// warn says what cannot be kept with Caddy's own networks: there, each
// configuration has a socket of its own.
func (w *Wrapper) warn(at address) {
	if strings.HasPrefix(at.na.Network, "tcp") && runtime.GOOS != "windows" && !fronts.known(at.key) {
		w.log.Warn("a reload resets connections that nobody has accepted yet; bind ipv4/, ipv6/ or dual/ to keep them",
			zap.String("address", at.key))
	}
}

// leave ends the parts in fronts that are left: those of a configuration that
// failed.
func (w *Wrapper) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.members {
		m.leave()
	}
}

// httpApp returns the HTTP app of the wrapper's configuration.
func (w *Wrapper) httpApp() *caddyhttp.App {
	val, err := w.ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	app, _ := val.(*caddyhttp.App)
	return app
}

// grace returns how long requests may go on when their server stops; 0 is for
// ever.
func (w *Wrapper) grace() time.Duration {
	if app := w.httpApp(); app != nil {
		return time.Duration(app.GracePeriod)
	}
	return 0
}

// commit makes the configuration's servers the current ones.
func (w *Wrapper) commit() {
	w.app.started(w)
	w.mu.Lock()
	members := w.members
	w.mu.Unlock()
	for _, m := range members {
		select {
		case <-m.learned: // as soon as Caddy's server has begun to accept
			fronts.commit(m)
		case <-m.stopped:
		case <-time.After(patience):
			w.log.Error("caddy's own server does not accept", m.front.field())
		}
	}
}

// patience is how long a server may take to begin to accept: it needs a
// moment.
const patience = 10 * time.Second

// started handles Caddy's event of that name: all apps of the configuration
// run. It is a struct because the events app logs it as JSON.
type started struct{ wrapper *Wrapper }

// Handle implements [caddyevents.Handler].
func (s started) Handle(context.Context, caddy.Event) error {
	s.wrapper.commit()
	return nil
}

// MarshalJSON keeps the log short.
func (started) MarshalJSON() ([]byte, error) { return []byte(`"seamless"`), nil }

// UnmarshalCaddyfile sets up the wrapper. Syntax:
//
//	seamless {
//		h3
//	}
func (w *Wrapper) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume wrapper name
	if d.NextArg() {
		return d.Errf("seamless takes no argument, not %q", d.Val())
	}
	for d.NextBlock(0) {
		switch option := d.Val(); {
		case option != "h3":
			return d.Errf("unknown option %q of seamless; the options are: h3", option)
		case w.HTTP3:
			return d.Err("option h3 of seamless is there twice")
		case d.NextArg():
			return d.Errf("option h3 of seamless takes no argument, not %q", d.Val())
		}
		w.HTTP3 = true
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner     = (*Wrapper)(nil)
	_ caddy.ListenerWrapper = (*Wrapper)(nil)
	_ caddyfile.Unmarshaler = (*Wrapper)(nil)
)
