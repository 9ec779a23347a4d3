//go:build !linux

package listeners

import (
	"net/netip"
	"runtime"
	"strconv"
)

// bindPrivilege is what low ports take.
const bindPrivilege = "root"

// sysctl knows the settings of Linux only.
func sysctl(string) string { return "" }

// firstFreePort returns the first port that anybody may bind.
func firstFreePort() (first int, setting string, known bool) {
	return 1024, "", runtime.GOOS != "windows"
}

// grantPort is the remedy for a low port.
func grantPort(port int) string {
	if runtime.GOOS == "freebsd" {
		return "start it as root, use another port, or `sysctl net.inet.ip.portrange.reservedhigh=" + strconv.Itoa(port-1) + "`"
	}
	return "start it as root, or use another port"
}

// deniedElsewhere explains EACCES on Windows.
func deniedElsewhere(t Target) (reason, remedy string) {
	return "the port is reserved, or another process has it for itself",
		"look for it with `netsh interface ipv4 show excludedportrange protocol=" + t.Network + "` and " + inspect(t, true)
}

func ipv6Off() string { return "" }

func notReady(netip.Addr) (card, why string) { return "", "" }

func protocolHasMPTCP() bool { return false }
