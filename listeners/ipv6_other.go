//go:build !linux

package listeners

// ipv6Usable leaves it to the system to refuse sockets of IPv6.
func ipv6Usable() error { return nil }
