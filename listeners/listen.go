package listeners

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

func init() {
	for _, network := range Networks {
		caddy.RegisterNetwork(network, listenStream)
		// a name with a slash is one that no user can write
		packets := network + "/udp"
		caddy.RegisterNetwork(packets, listenPacket)
		caddyhttp.RegisterNetworkHTTP3(network, packets)
	}
}

// Sets is what a Caddy app named gin implements that has named sets of
// options, for `use`.
type Sets interface {
	ListenerOptions(name string) (Options, error)
}

// listenStream implements [caddy.ListenerFunc] for all networks.
func listenStream(ctx context.Context, network, host, portRange string, portOffset uint, config net.ListenConfig) (any, error) {
	req, err := newRequest(ctx, network, host, portRange, portOffset)
	if err != nil {
		return nil, err
	}
	ln, err := req.listen(ctx)
	if err != nil {
		return nil, err
	}
	ln.keepAlive = keepAliveOf(req.address.Options, config.KeepAliveConfig)
	return ln, nil
}

// loggerName is the name of the package's logger.
const loggerName = "gin.listeners"

// logModule has a configuration's logs include or exclude [loggerName].
type logModule struct{}

// CaddyModule returns the logger's name; it is not registered.
func (logModule) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: loggerName} }

// newRequest reads what Caddy asks for.
func newRequest(ctx context.Context, network, host, portRange string, portOffset uint) (request, error) {
	first, _, _ := strings.Cut(portRange, "-")
	port, err := strconv.ParseUint(first, 10, 16)
	if err != nil || port+uint64(portOffset) > 65535 {
		return request{}, fmt.Errorf("invalid port %s+%d", portRange, portOffset)
	}
	req := request{port: uint16(port + uint64(portOffset)), log: caddy.Log().Named(loggerName)}
	if req.address, err = Parse(network, host); err != nil {
		return req, err
	}
	req.asked = caddy.JoinNetworkAddress(network, host, strconv.Itoa(int(req.port)))
	ctxCaddy, inConfig := ctx.(caddy.Context)
	if inConfig {
		req.config = ctxCaddy.Done()
		req.log = ctxCaddy.Logger(logModule{})
	}
	if use, ok := req.address.Options["use"]; ok {
		var app any
		if inConfig {
			app, err = ctxCaddy.AppIfConfigured("gin")
		}
		sets, ok := app.(Sets)
		if !ok || err != nil {
			return req, fmt.Errorf("%s: option use=%s: there is no global option gin with a listener of that name", req.address, use.Text)
		}
		if req.address, err = req.address.WithSet(sets); err != nil {
			return req, err
		}
	}
	req.match = req.address.Key(req.port)
	if req.address.Network == UnixSock {
		req.port = 0
		err = req.address.absolute()
	}
	return req, err
}

// WithSet returns the address with the options of its set, under its own.
func (a Address) WithSet(sets Sets) (Address, error) {
	use, ok := a.Options["use"]
	if !ok {
		return a, nil
	}
	set, err := sets.ListenerOptions(use.Text)
	if err != nil {
		return a, fmt.Errorf("%s: option use: %w", a, err)
	}
	for name := range set {
		if !specs[name].on(a.Network) {
			return a, fmt.Errorf("%s: listener %s has option %s, which network %s does not: allowed are %s",
				a, use.Text, name, a.Network, strings.Join(OptionNames(a.Network), ", "))
		}
	}
	a.Options = a.Options.over(set)
	return a, nil
}

// absolute makes two spellings of one path equal: it is below the working
// directory at start, and its folder is free of symbolic links.
func (a *Address) absolute() error {
	if strings.HasPrefix(a.Host, "@") {
		return nil
	}
	path := a.Host
	if !filepath.IsAbs(path) {
		wd, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		path = wd + string(filepath.Separator) + path // not cleaned: .. goes up from where a link leads
	}
	folder, name := filepath.Split(path)
	a.Host = filepath.Join(realFolder(folder), name)
	return nil
}

// realFolder returns a folder without symbolic links. What does not exist yet,
// because mkdir is to make it, stays as it is.
func realFolder(folder string) string {
	if resolved, err := filepath.EvalSymlinks(folder); err == nil {
		return resolved
	}
	above, name := filepath.Split(strings.TrimRight(folder, string(filepath.Separator)))
	if above == "" || name == "" {
		return filepath.Clean(folder)
	}
	return filepath.Join(realFolder(above), name)
}

// listen opens what is asked for, and tries again as long as retry says.
func (req request) listen(ctx context.Context) (*Listener, error) {
	patience := time.Duration(req.address.Options.number("retry"))
	until := time.Now().Add(patience)
	for waiting := false; ; waiting = true {
		ln, err := req.try(ctx)
		if err == nil || patience == 0 || !temporary(err) {
			return ln, err
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("%w (tried for %s)", err, brief(patience))
		}
		if !waiting {
			req.log.Warn("cannot listen yet, trying again", zap.String("address", req.address.At(req.port)),
				zap.Duration("for", patience), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (req request) try(ctx context.Context) (*Listener, error) {
	targets, err := req.targets(ctx)
	if err != nil {
		return nil, err
	}
	return sockets.listen(ctx, req, targets)
}

// targets returns what the kernel has to bind.
func (req request) targets(ctx context.Context) ([]Target, error) {
	switch req.address.Network {
	case UnixSock:
		return []Target{{Network: "unix", Path: req.address.Host}}, nil
	case Systemd:
		t, err := activatedTarget(req.address.Host, "tcp", req.port)
		return []Target{t}, err
	}
	targets, err := req.address.resolve(ctx, req.port)
	if err != nil {
		err = fmt.Errorf("%s: %w", req.address.At(req.port), err)
	}
	return targets, err
}

// temporary reports whether an error may go away while one waits: an address,
// an interface or a name that comes up late, a port that is being given up.
func temporary(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EAFNOSUPPORT, syscall.ENODEV} {
		if errors.Is(err, errno) {
			return true
		}
	}
	var noAddress *familyError
	var noName *net.DNSError
	return errors.As(err, &noAddress) || errors.As(err, &noName)
}

// keepAliveOf returns what sets the keep-alive probes of a connection: as the
// address says, or else as Caddy's server does. It is nil if what Go does by
// itself is right.
func keepAliveOf(options Options, config net.KeepAliveConfig) func(*net.TCPConn) {
	if v, ok := options["keepalive"]; ok {
		config = net.KeepAliveConfig{Enable: v.N > 0, Idle: time.Duration(v.N), Interval: max(time.Duration(v.N), 1)}
	}
	switch {
	case config == net.KeepAliveConfig{}, config == net.KeepAliveConfig{Enable: true}:
		return nil
	case !config.Enable:
		return func(conn *net.TCPConn) { _ = conn.SetKeepAlive(false) }
	}
	return func(conn *net.TCPConn) { _ = conn.SetKeepAliveConfig(config) }
}
