package listeners

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// The networks of this package.
const (
	IPv4     = "ipv4"     // AF_INET only
	IPv6     = "ipv6"     // AF_INET6 only
	Dual     = "dual"     // both families, or a refusal
	UnixSock = "unixsock" // a Unix socket
	Systemd  = "systemd"  // a socket that systemd opened
)

// Networks are the names of the networks, in the order of the documentation.
var Networks = []string{IPv4, IPv6, Dual, UnixSock, Systemd}

// DefaultMode is the mode of a Unix socket of which none is asked for: its
// owner and its group may connect.
const DefaultMode fs.FileMode = 0o660

// Address is what follows `bind`: a network, a host and options, without a
// port. The zero value is not an address; use [Parse].
type Address struct {
	Network string
	// Host is empty for all addresses of the network's families; an IP
	// address, an interface or a host name; for unixsock the path; for systemd
	// the name of the descriptor.
	Host    string
	Mode    fs.FileMode // of a Unix socket with a path; otherwise 0
	Options Options
}

// Ours reports whether a network is one of this package.
func Ours(network string) bool { return slices.Contains(Networks, network) }

// Parse reads the host of a network address, with its options, as Caddy hands
// it over: without brackets and port. Errors name what is allowed.
func Parse(network, host string) (Address, error) {
	if !Ours(network) {
		return Address{}, fmt.Errorf("unknown network %q: allowed are %s", network, strings.Join(Networks, ", "))
	}
	a := Address{Network: network}
	if err := a.parse(host); err != nil {
		return Address{}, fmt.Errorf("%s/%s: %w", network, host, err)
	}
	return a, nil
}

func (a *Address) parse(text string) (err error) {
	if a.Network == UnixSock {
		if text, err = a.parseMode(text); err != nil {
			return err
		}
	}
	host, query, _ := strings.Cut(text, "?")
	if a.Host, err = a.parseHost(host); err != nil {
		return err
	}
	if a.Options, err = ParseOptions(a.Network, query); err != nil {
		return err
	}
	if strings.HasPrefix(a.Host, "@") && a.Network == UnixSock {
		for _, name := range []string{"user", "group", "mkdir"} {
			if _, ok := a.Options[name]; ok {
				return fmt.Errorf("option %s: an abstract socket has no file; use a path, or match its clients with unix_peer", name)
			}
		}
	}
	return nil
}

// parseMode takes |MODE off the end.
func (a *Address) parseMode(text string) (string, error) {
	path, mode, ok := strings.Cut(text, "|")
	abstract := strings.HasPrefix(path, "@")
	if !ok {
		if !abstract {
			a.Mode = DefaultMode
		}
		return text, nil
	}
	if abstract {
		return "", errors.New("an abstract socket has no mode; use a path, or match its clients with unix_peer")
	}
	n, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || n > 0o777 || n&0o200 == 0 {
		return "", fmt.Errorf("mode %q: not an octal number from 0200 to 0777 that lets the owner write, such as 0660", mode)
	}
	a.Mode = fs.FileMode(n)
	return path, nil
}

func (a *Address) parseHost(host string) (string, error) {
	switch a.Network {
	case UnixSock:
		if host == "" || host == "@" {
			return "", errors.New("a path is missing, as in unixsock//run/app.sock")
		}
		if strings.HasSuffix(host, "/") || strings.ContainsAny(host, "\x00\n\r") {
			return "", fmt.Errorf("%q is not the path of a socket", host)
		}
		return host, nil
	case Systemd:
		// as systemd allows in FileDescriptorName=
		if host == "" || len(host) > 255 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			return "", fmt.Errorf("%q is not a FileDescriptorName= of systemd", host)
		}
		if strings.ContainsAny(host, "[]") {
			return "", fmt.Errorf("%q has brackets, which an address cannot have in a name; change FileDescriptorName= in the socket unit", host)
		}
		return host, nil
	}
	if host == "*" {
		return "", nil
	}
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]") // brackets before the options
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		if len(host) > 255 || strings.ContainsFunc(host, notInName) {
			return "", fmt.Errorf("%q is not an address, an interface or a host name", host)
		}
		return host, nil
	}
	switch {
	case strings.ContainsFunc(ip.Zone(), notInName):
		return "", fmt.Errorf("%q is not the zone of an address: it is the name of an interface", ip.Zone())
	case ip.Is4In6():
		return "", fmt.Errorf("%s is an IPv4 address in IPv6 clothes; use ipv4/%s", ip, ip.Unmap())
	case ip.Is4() && a.Network == IPv6:
		return "", fmt.Errorf("%s is not an IPv6 address; use ipv4/%s", ip, ip)
	case ip.Is6() && a.Network == IPv4:
		return "", fmt.Errorf("%s is not an IPv4 address; use ipv6/%s", ip, ip)
	case a.Network == Dual && ip.IsUnspecified():
		return "", nil
	case a.Network == Dual:
		return "", fmt.Errorf("%s is of one family only; use %s/%s, or bind both addresses", ip, family(ip), ip)
	case ip.IsUnspecified():
		return "", nil
	}
	return ip.String(), nil
}

// notInName reports what neither a host name nor the name of an interface
// holds.
func notInName(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune("/:?|[]&=*,;\"'`\\<>{}()", r)
}

// family returns the network that takes an address.
func family(ip netip.Addr) string {
	if ip.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// HostText returns the host with its options and its mode, as [Parse] reads
// it.
func (a Address) HostText() string {
	text := a.Host
	if options := a.Options.String(); options != "" {
		text += "?" + options
	}
	if a.Mode != 0 && a.Mode != DefaultMode {
		text += fmt.Sprintf("|%04o", uint32(a.Mode))
	}
	return text
}

// String returns the address as Caddy writes it, without a port.
func (a Address) String() string {
	return caddy.JoinNetworkAddress(a.Network, a.HostText(), "")
}

// At returns the address with a port, as Caddy writes it; networks without
// ports have none.
func (a Address) At(port uint16) string {
	if a.Network == UnixSock {
		return a.String()
	}
	return caddy.JoinNetworkAddress(a.Network, a.HostText(), strconv.Itoa(int(port)))
}

// Key returns the address at a port, as Caddy writes it, without what may
// change while its socket stays the same: the mode of a Unix socket and the
// options, but for the device.
func (a Address) Key(port uint16) string {
	host := a.Host
	if device, ok := a.Options["device"]; ok {
		host += "?device=" + device.Text
	}
	return caddy.JoinNetworkAddress(a.Network, host, strconv.Itoa(int(port)))
}

// withMode returns the options with the mode of the socket's file among them,
// under a name that no user can write.
func (a Address) withMode() Options {
	if a.Mode == 0 {
		return a.Options
	}
	options := maps.Clone(a.Options)
	if options == nil {
		options = make(Options)
	}
	options[modeOption] = Value{N: int64(a.Mode), Text: fmt.Sprintf("%04o", uint32(a.Mode))}
	return options
}

// Equal reports whether two addresses mean the same.
func (a Address) Equal(b Address) bool {
	return a.Network == b.Network && a.Host == b.Host && a.Mode == b.Mode && maps.Equal(a.Options, b.Options)
}
