package caddygin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// checkConfig is what `caddy gin check` takes from a configuration.
type checkConfig struct {
	listens []checkListen
	sets    listeners.Sets // nil if there are none
}

// checkListen is an address of a server.
type checkListen struct {
	address string
	http3   bool
}

// loadCheckConfig provisions a configuration, because only then its addresses
// are known: with placeholders replaced, and with those of automatic HTTPS.
// What is provisioned ends with the process.
func loadCheckConfig(file, adapter string) (checkConfig, error) {
	var c checkConfig
	input, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return c, err
	}
	var config *caddy.Config
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(input), &config); err != nil {
		return c, fmt.Errorf("decoding config: %w", err)
	}
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		return c, err
	}
	if app, err := ctx.AppIfConfigured("gin"); err == nil {
		c.sets, _ = app.(listeners.Sets)
	}
	if app, err := ctx.AppIfConfigured("http"); err == nil {
		c.addServers(app.(*caddyhttp.App))
	}
	return c, nil
}

// addServers adds the addresses of all servers, each port on its own, as one
// may be that of HTTPS and another not.
func (c *checkConfig) addServers(app *caddyhttp.App) {
	httpPort := uint(caddyhttp.DefaultHTTPPort)
	if app.HTTPPort != 0 {
		httpPort = uint(app.HTTPPort)
	}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		for i, listen := range server.Listen {
			na, err := caddy.ParseNetworkAddress(listen)
			if err != nil {
				c.listens = append(c.listens, checkListen{address: listen})
				continue
			}
			protocols := server.Protocols
			if server.ListenProtocols != nil && server.ListenProtocols[i] != nil {
				protocols = server.ListenProtocols[i]
			}
			for offset := range na.PortRangeSize() {
				port := na.StartPort + offset
				c.listens = append(c.listens, checkListen{
					address: na.At(offset).String(),
					http3:   len(server.TLSConnPolicies) > 0 && port != httpPort && slices.Contains(protocols, "h3"),
				})
			}
		}
	}
}

// check checks all addresses of the configuration.
func (c checkConfig) check(ctx context.Context) []listeners.Report {
	reports := make([]listeners.Report, 0, len(c.listens))
	for _, l := range c.listens {
		network, _, slash := strings.Cut(l.address, "/")
		switch {
		case slash && !listeners.Checkable(network):
			reports = append(reports, listeners.Report{Address: l.address, Note: "not checked: network " + network + " is not one of this plugin"})
		case l.http3:
			reports = append(reports, listeners.CheckHTTP3(ctx, l.address, defaultCheckPort, c.sets))
		default:
			reports = append(reports, listeners.Check(ctx, l.address, defaultCheckPort, c.sets))
		}
	}
	listeners.MarkTwice(reports)
	return reports
}
