package listeners

import (
	"net"
	"os"
	"strconv"
)

// portDenied explains EACCES for a port.
func (d *Diagnosis) portDenied() {
	port := int(d.Target.Addr.Port())
	first, setting, known := firstFreePort()
	switch {
	case port == 0 || !known:
		d.Reason, d.Remedy = deniedElsewhere(d.Target)
	case port < first:
		d.Reason = "ports below " + strconv.Itoa(first) + setting + " need " + bindPrivilege + ", which this process (" + describeUser(os.Geteuid()) + ") lacks"
		d.Remedy = grantPort(port)
	default:
		d.Reason = "a security policy forbids the port: SELinux, AppArmor, or a filter of the service or container"
		d.Remedy = "look into the audit log (`ausearch -m avc -ts recent`, `dmesg`), or use another port"
	}
}

// describeUser names a user: "user www-data, uid 33".
func describeUser(uid int) string {
	if name := userName(uid); name != "" {
		return "user " + name + ", uid " + strconv.Itoa(uid)
	}
	return "uid " + strconv.Itoa(uid)
}

// notLocal explains EADDRNOTAVAIL.
func (d *Diagnosis) notLocal() {
	addr := d.Target.Addr.Addr().Unmap()
	if d.Target.Network == "unix" || !addr.IsValid() {
		return
	}
	name, family := "IPv4", IPv4
	if addr.Is6() {
		name, family = "IPv6", IPv6
		if why := ipv6Off(); why != "" {
			d.Reason, d.Remedy = why, useIPv4
			return
		}
		if card, why := notReady(addr.WithZone("")); why != "" {
			d.Reason = "the address of " + card + " " + why
			d.Remedy = "wait for it with retry=10s"
			if supported("freebind") == nil {
				d.Remedy += ", or bind it at once with freebind"
			}
			return
		}
	}
	cards, _ := net.Interfaces()
	var texts []string
	var elsewhere string // an interface that has the address
	for i := range cards {
		ips, _ := interfaceAddrs(&cards[i])
		for _, ip := range ips {
			if ip.WithZone("") == addr.WithZone("") {
				elsewhere = cards[i].Name
			}
			if ip.Is4() != addr.Is4() {
				continue
			}
			text := ip.String()
			if ip.Zone() == "" {
				text += " (" + cards[i].Name + ")"
			}
			texts = append(texts, text)
		}
	}
	zone := zoneName(addr.Zone())
	switch {
	case elsewhere != "" && zone != "" && zone != elsewhere:
		d.Reason = "it is an address of " + elsewhere + ", not of " + zone
		d.Remedy = "write " + addr.WithZone(elsewhere).String()
		return
	case elsewhere != "":
		d.Reason = "it is an address of " + elsewhere + " now, but was not when it was bound"
		d.Remedy = "wait for it with retry=10s"
		return
	case len(texts) == 0:
		d.Reason = "no interface has an " + name + " address"
	default:
		d.Reason = "not an address of this host, whose " + name + " addresses are " + list(texts)
	}
	d.Remedy = "correct it, or wait for it with retry=10s if it comes up late (VRRP, order of boot)"
	if supported("freebind") == nil {
		d.Remedy = "correct it, bind it all the same with freebind, or wait for it with retry=10s if it comes up late (VRRP, order of boot)"
	}
	if len(texts) > 0 && addr.IsLoopback() {
		d.Remedy = "use one of these or " + family + "/"
	}
}

// useIPv4 is the remedy where there is no IPv6.
const useIPv4 = "use ipv4/, or switch IPv6 on"

// noFamily explains EAFNOSUPPORT.
func (d *Diagnosis) noFamily() {
	const filter = "sockets of this family are forbidden to this process, by RestrictAddressFamilies= of the systemd unit or another filter"
	const allow = "allow it there"
	switch addr := d.Target.Addr.Addr(); {
	case d.Target.Network == "unix":
		d.Reason, d.Remedy = filter, allow+" (AF_UNIX)"
	case addr.Is4():
		d.Reason, d.Remedy = filter, allow+" (AF_INET), or use ipv6/"
	default:
		if d.Reason = ipv6Off(); d.Reason != "" {
			d.Remedy = useIPv4
			return
		}
		d.Reason, d.Remedy = filter, allow+" (AF_INET6), or use ipv4/"
	}
}

// invalid explains EINVAL and ENAMETOOLONG.
func (d *Diagnosis) invalid() {
	if d.Target.Network == "unix" {
		d.pathTooLong()
		return
	}
	addr := d.Target.Addr.Addr()
	if !addr.IsLinkLocalUnicast() || addr.Is4() || addr.Zone() != "" {
		return
	}
	d.Reason = "a link-local address needs its interface"
	names := interfaceNames()
	cards, _ := net.Interfaces()
	for i := range cards {
		ips, _ := interfaceAddrs(&cards[i])
		for _, ip := range ips {
			if ip.WithZone("") == addr {
				names = []string{cards[i].Name}
			}
		}
	}
	if len(names) == 1 {
		d.Remedy = "write " + addr.WithZone(names[0]).String()
		return
	}
	d.Remedy = "write " + addr.String() + "% and the interface's name, of " + list(names)
}

// noInterface explains ENODEV.
func (d *Diagnosis) noInterface(name string) {
	if name == "" {
		return
	}
	what := "is named "
	if _, err := strconv.Atoi(name); err == nil {
		what = "has the number "
	}
	d.Reason = "no interface " + what + name + " (all interfaces: " + list(interfaceNames()) + ")"
	d.Remedy = "correct it, or wait for it with retry=10s if it comes up late"
}

// zoneName returns the name of the interface that a zone means.
func zoneName(zone string) string {
	if n, err := strconv.Atoi(zone); err == nil {
		if card, err := net.InterfaceByIndex(n); err == nil {
			return card.Name
		}
	}
	return zone
}

// isInterfaceMissing recognizes the error of net.InterfaceByName, which has no
// number.
func isInterfaceMissing(err *net.OpError) bool {
	return err.Op == "route" && err.Err != nil && err.Err.Error() == "no such network interface"
}
