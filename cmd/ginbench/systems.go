package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/caddy-gin/caddy-gin/internal/children"
)

// system is one way to serve the app.
type system struct {
	name    string
	address string  // host and port, or "" if it is not installed
	target  float64 // how many times as fast the plugin should be, or 0
	results []result
}

// The systems, in the order of the table. The plugin is the first.
const (
	ginInCaddy = iota
	ginAlone
	respond
	proxyTCP
	proxyUnix
	nginxTCP
	nginxUnix
	numSystems
)

// start starts everything and waits until it answers.
func start(f *children.Family, o options) ([]*system, error) {
	ports, err := children.FreePorts(numSystems)
	if err != nil {
		return nil, err
	}
	systems := []*system{
		ginInCaddy: {name: "gin in caddy", address: ports[ginInCaddy]},
		ginAlone:   {name: "gin alone", address: ports[ginAlone]},
		respond:    {name: "respond", address: ports[respond], target: 0.95},
		proxyTCP:   {name: "reverse_proxy tcp", address: ports[proxyTCP], target: 3},
		proxyUnix:  {name: "reverse_proxy unix", address: ports[proxyUnix], target: 3},
		nginxTCP:   {name: "nginx tcp"},
		nginxUnix:  {name: "nginx unix"},
	}
	socket := filepath.Join(f.Dir, "gin.sock")

	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if _, err := f.Start("plain Gin", self, serverCommand, ports[ginAlone], socket); err != nil {
		return nil, err
	}
	caddy, err := caddyBinary(f, o)
	if err != nil {
		return nil, err
	}
	if err := startCaddy(f, caddy, systems, ports[ginAlone], socket); err != nil {
		return nil, err
	}
	if nginx := children.Program("nginx"); nginx != "" {
		systems[nginxTCP].address, systems[nginxUnix].address = ports[nginxTCP], ports[nginxUnix]
		if err := startNginx(f, nginx, systems, ports[ginAlone], socket); err != nil {
			return nil, err
		}
	}
	for _, s := range systems {
		if s.address == "" {
			continue
		}
		if err := f.Await("an answer of "+s.name, func(ctx context.Context) error { return probe(ctx, s) }); err != nil {
			return nil, err
		}
	}
	return systems, nil
}

// caddyBinary returns the Caddy to measure, built if none was given.
func caddyBinary(f *children.Family, o options) (string, error) {
	if o.caddy != "" {
		return filepath.Abs(o.caddy)
	}
	path := filepath.Join(f.Dir, "caddy")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.CommandContext(f.Ctx, "go", "build", "-o", path, "github.com/caddy-gin/caddy-gin/cmd/caddy")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building Caddy: %w\n%s", err, out)
	}
	return path, nil
}
