package upgrade

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// checkAddresses refuses a configuration with servers on networks whose sockets
// two processes cannot have at once without getting in each other's way.
func checkAddresses(config []byte) error {
	var parts struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Listen []string `json:"listen"`
				} `json:"servers"`
			} `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &parts); err != nil {
		return fmt.Errorf("reading the running configuration: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(parts.Apps.HTTP.Servers)) {
		for _, listen := range parts.Apps.HTTP.Servers[name].Listen {
			address, err := caddy.ParseNetworkAddress(caddy.NewReplacer().ReplaceAll(listen, ""))
			if err != nil {
				continue // Caddy has complained
			}
			switch {
			case listeners.Ours(address.Network):
			case address.IsUnixNetwork():
				return fmt.Errorf("server %s listens at %s, whose file the new process would take away before it has proven itself: bind unixsock/%s instead", name, listen, listenPath(address))
			case address.IsFdNetwork():
				return fmt.Errorf("server %s listens at %s, a descriptor that the new process does not get: let systemd name the socket and bind systemd/NAME instead", name, listen)
			}
		}
	}
	return nil
}

// listenPath returns the path of a Unix socket without the mode.
func listenPath(address caddy.NetworkAddress) string {
	path := address.Host
	for i := range path {
		if path[i] == '|' {
			return path[:i]
		}
	}
	return path
}
