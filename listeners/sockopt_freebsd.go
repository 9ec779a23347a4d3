package listeners

import "golang.org/x/sys/unix"

// reusePort is the option under which FreeBSD deals connections out to all
// sockets, as Linux does.
const reusePort = unix.SO_REUSEPORT_LB
