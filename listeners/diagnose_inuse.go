package listeners

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inUse explains EADDRINUSE.
func inUse(t Target) (holders []Holder, reason, remedy string) {
	found := heldBy(t)
	for _, h := range found {
		holders = append(holders, h.Holder)
	}
	switch {
	case len(found) > 0:
		reason, remedy = "in use by "+describeHeld(found), whatToDo(t, found[0])
	case t.Network == "unix":
		reason, remedy = pathTaken(t)
	case t.Addr.Port() == 0:
		reason = "no port is free" + portRange(" in the range %s (net.ipv4.ip_local_port_range)")
		remedy = "name a port, or widen the range"
	default:
		reason, remedy = nobodyVisible(t)
	}
	return holders, reason, remedy
}

// describeHeld names the holders. A wildcard of the other family is left out
// if one of the same family explains the failure: the two would not stand
// beside each other if it took both.
func describeHeld(found []held) string {
	var texts []string
	for _, h := range found {
		if h.overlap >= dualCover && found[0].overlap < dualCover {
			break
		}
		texts = append(texts, h.String())
	}
	if how := howInTheWay(found[0]); how != "" {
		texts[0] += ", " + how
		if len(texts) > 1 {
			texts[1] = "and by " + texts[1]
		}
	}
	return list(texts)
}

// howInTheWay says why a socket at another address matters.
func howInTheWay(h held) string {
	var parts []string
	switch h.overlap {
	case covering:
		if strings.HasPrefix(h.Address, "[") {
			parts = append(parts, "which covers every IPv6 address")
		} else {
			parts = append(parts, "which covers every IPv4 address")
		}
	case covered:
		parts = append(parts, "which a socket on all addresses would have to cover")
	case dualCover:
		if h.Family == familyMaybeDual {
			parts = append(parts, "an IPv6 socket that takes IPv4 too unless it is set to IPv6 only")
		} else {
			parts = append(parts, "an IPv6 socket that takes IPv4 too")
		}
	case dualCovered:
		parts = append(parts, "which a socket for both families would have to cover")
	}
	if h.idle {
		parts = append(parts, "bound but not listening")
	}
	return strings.Join(parts, ", ")
}

// whatToDo is the remedy against a holder.
func whatToDo(t Target, h held) string {
	switch {
	case h.Pid == 0 && os.Geteuid() == 0:
		return "its process is not visible, perhaps in another container: " + inspect(t, false) + " on the host shows it"
	case h.Pid == 0:
		return inspect(t, false) + " as root shows which"
	case h.Pid == os.Getpid() && t.Network == "unix":
		return "let one site use this path, or give the other site another"
	case h.Pid == os.Getpid():
		return "bind it once: look for a second site, or for another spelling of the same address"
	case h.Pid == 1 && h.Process == "systemd":
		return "stop the socket unit (`systemctl list-sockets` names it), or take the socket over with systemd/NAME"
	case t.Network == "unix":
		return "stop it or use another path"
	case h.overlap == dualCover:
		return "stop it, set it to IPv6 only, or use another port"
	case h.overlap == covering:
		return "stop it, let it bind single addresses, or use another port"
	case h.overlap == dualCovered:
		return "stop it, bind ipv6/ only, or use another port"
	case h.overlap == covered:
		return "stop it, bind single addresses, or use another port"
	}
	return "stop it or use another port"
}

// nobodyVisible explains a port that is taken by something unseen.
func nobodyVisible(t Target) (reason, remedy string) {
	causes := []string{"a socket that is bound but does not listen"}
	if inPortRange(t.Addr.Port()) {
		causes = append(causes, portRange("an outgoing connection (the port is in net.ipv4.ip_local_port_range, %s)"))
	}
	reason = "in use, but no process that listens on it is visible here; it may be " + strings.Join(causes, " or ")
	remedy = "use another port"
	if command := inspect(t, true); command != "" {
		remedy = command + " as root may show it, else " + remedy
	}
	return reason, remedy
}

// pathTaken explains a Unix socket whose path or name is taken.
func pathTaken(t Target) (reason, remedy string) {
	if strings.HasPrefix(t.Path, "@") {
		return "in use, but no process that has it is visible here", inspect(t, false) + " as root may show it, else use another name"
	}
	info, err := os.Lstat(t.Path)
	switch {
	case err != nil:
		return "the path was taken a moment ago", "try again"
	case info.Mode()&os.ModeSocket == 0:
		return "the path exists and is " + kindOfFile(info.Mode()) + ", not a socket", "move it away or use another path"
	}
	reason = "the path exists, a socket of which no process is visible here"
	remedy = "remove it if nobody serves it, or use another path"
	if command := inspect(t, false); command != "" {
		remedy = "look for its process with " + command + " as root; " + remedy
	}
	return reason, remedy
}

// kindOfFile names the type of a file.
func kindOfFile(mode os.FileMode) string {
	switch mode.Type() {
	case 0:
		return "a regular file"
	case os.ModeDir:
		return "a directory"
	case os.ModeSymlink:
		return "a symbolic link"
	case os.ModeNamedPipe:
		return "a named pipe"
	case os.ModeSocket:
		return "a socket"
	}
	return "a device"
}

// portRange formats the range of ports for outgoing connections, or returns ""
// if the system does not tell.
func portRange(format string) string {
	if low, high, ok := localPorts(); ok {
		return fmt.Sprintf(format, strconv.Itoa(low)+"-"+strconv.Itoa(high))
	}
	return ""
}

func inPortRange(port uint16) bool {
	low, high, ok := localPorts()
	return ok && low <= int(port) && int(port) <= high
}

func localPorts() (low, high int, ok bool) {
	n, _ := fmt.Sscan(sysctl("net/ipv4/ip_local_port_range"), &low, &high)
	return low, high, n == 2
}
