package listeners

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// bindPrivilege is what low ports take.
const bindPrivilege = "CAP_NET_BIND_SERVICE"

// sysctl returns a setting of the kernel, for the network namespace of the
// calling thread; "" if there is none.
func sysctl(name string) string {
	value, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(value))
}

// firstFreePort returns the first port that anybody may bind, and which
// setting says so.
func firstFreePort() (first int, setting string, known bool) {
	if first, err := strconv.Atoi(sysctl("net/ipv4/ip_unprivileged_port_start")); err == nil {
		return first, " (net.ipv4.ip_unprivileged_port_start)", true
	}
	return 1024, "", true
}

// grantPort is the remedy for a low port.
func grantPort(port int) string {
	program, err := os.Executable()
	if err != nil {
		program = "caddy"
	}
	return "`setcap cap_net_bind_service=+ep " + shellQuote(program) +
		"`, AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or `sysctl net.ipv4.ip_unprivileged_port_start=" +
		strconv.Itoa(port) + "`"
}

// deniedElsewhere is not needed: the first free port is always known.
func deniedElsewhere(Target) (reason, remedy string) { return "", "" }

// ipv6Off returns how IPv6 is switched off, or "".
func ipv6Off() string {
	const all = "net/ipv6/conf/all/disable_ipv6"
	switch sysctl(all) {
	case "":
		return "this kernel has no IPv6 (started with ipv6.disable=1, or built without)"
	case "1":
		return "IPv6 is switched off (net.ipv6.conf.all.disable_ipv6=1)"
	}
	return ""
}

// notReady returns the interface of an IPv6 address that is there but cannot be
// bound yet, and why; "" if that is not so.
func notReady(addr netip.Addr) (card, why string) {
	table, err := os.ReadFile(netTables + "if_inet6")
	if err != nil {
		return "", ""
	}
	const tentative, failed = 0x40, 0x08 // IFA_F_TENTATIVE, IFA_F_DADFAILED
	for line := range strings.Lines(string(table)) {
		field := strings.Fields(line) // address, interface, prefix, scope, flags, name
		if len(field) < 6 {
			continue
		}
		raw, err := hex.DecodeString(field[0])
		if ip, ok := netip.AddrFromSlice(raw); err != nil || !ok || ip != addr {
			continue
		}
		flags, err := strconv.ParseUint(field[4], 16, 32)
		switch {
		case err != nil:
			continue
		case flags&failed != 0:
			return field[5], "cannot be used: another host on the link has it (duplicate address detection failed)"
		case flags&tentative != 0:
			return field[5], "is still tentative: the kernel looks whether another host has it (duplicate address detection), which takes a link that is up"
		}
	}
	return "", ""
}

// protocolHasMPTCP tells whether a socket may be one of MPTCP.
func protocolHasMPTCP() bool { return sysctl("net/mptcp/enabled") == "1" }
