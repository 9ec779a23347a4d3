//go:build darwin || freebsd

package listeners

// forgetSharing does nothing: the options of the sockets are all that counts.
func forgetSharing(int) {}
