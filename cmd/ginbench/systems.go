package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
func start(f *family, o options) ([]*system, error) {
	ports, err := freePorts(numSystems)
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
	socket := filepath.Join(f.dir, "gin.sock")

	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := f.start("plain Gin", self, serverCommand, ports[ginAlone], socket); err != nil {
		return nil, err
	}
	caddy, err := caddyBinary(f, o)
	if err != nil {
		return nil, err
	}
	if err := startCaddy(f, caddy, systems, ports[ginAlone], socket); err != nil {
		return nil, err
	}
	if nginx := findNginx(); nginx != "" {
		systems[nginxTCP].address, systems[nginxUnix].address = ports[nginxTCP], ports[nginxUnix]
		if err := startNginx(f, nginx, systems, ports[ginAlone], socket); err != nil {
			return nil, err
		}
	}
	for _, s := range systems {
		if s.address == "" {
			continue
		}
		if err := f.ready(s); err != nil {
			return nil, err
		}
	}
	return systems, nil
}

// freePorts returns n addresses of 127.0.0.1 that nobody listened on a moment
// ago.
func freePorts(n int) ([]string, error) {
	var addresses []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // not before all are chosen
		addresses = append(addresses, ln.Addr().String())
	}
	return addresses, nil
}

// findNginx returns the path of nginx, or "" if it is not installed.
func findNginx() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// caddyBinary returns the Caddy to measure, built if none was given.
func caddyBinary(f *family, o options) (string, error) {
	if o.caddy != "" {
		return filepath.Abs(o.caddy)
	}
	path := filepath.Join(f.dir, "caddy")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.CommandContext(f.ctx, "go", "build", "-o", path, "github.com/caddy-gin/caddy-gin/cmd/caddy")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building Caddy: %w\n%s", err, out)
	}
	return path, nil
}
