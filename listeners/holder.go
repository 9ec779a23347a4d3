package listeners

import (
	"cmp"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strconv"
)

// Families of a holder's socket.
const (
	familyIPv4 = "IPv4"
	familyIPv6 = "IPv6"
	familyDual = "IPv6 and IPv4"
	// familyMaybeDual is an IPv6 wildcard of which the system does not tell
	// whether it takes IPv4 too.
	familyMaybeDual = "IPv6, perhaps IPv4 too"
	familyUnix      = "Unix"
)

// Holder is a socket of a process that keeps a target from being bound.
type Holder struct {
	// Address as the holder bound it: "0.0.0.0:80", "[::]:80", "/run/x.sock".
	// An IPv4 address in IPv6 notation is written as IPv4. The zone of a
	// link-local address is not known.
	Address string `json:"address"`
	// Family is what arrives at the socket: "IPv4", "IPv6", "IPv6 and IPv4",
	// "IPv6, perhaps IPv4 too" or "Unix".
	Family string `json:"family"`
	// Pid of the process; 0 if it is unknown, because its descriptors may not
	// be read or because it runs in another PID namespace. If several
	// processes share the socket it is this process or else the one with the
	// lowest pid, which usually is their parent.
	Pid int `json:"pid,omitempty"`
	// Process is its name, as far as the kernel keeps it (15 bytes); "" if
	// unknown.
	Process string `json:"process,omitempty"`
	// UID is the owner of the socket, and for a Unix socket of the process; -1
	// if unknown.
	UID int `json:"uid"`
	// User is the name of UID; "" if it has none.
	User string `json:"user,omitempty"`
}

// String describes h in a few words, such as
// "nginx (pid 123, user www-data) on 0.0.0.0:80".
func (h Holder) String() string {
	var owner string
	switch {
	case h.User != "":
		owner = "user " + h.User
	case h.UID >= 0:
		owner = "uid " + strconv.Itoa(h.UID)
	}
	switch {
	case h.Pid == os.Getpid():
		return "this process (pid " + strconv.Itoa(h.Pid) + ") on " + h.Address
	case h.Pid != 0:
		name := cmp.Or(h.Process, "a process")
		if owner != "" {
			owner = ", " + owner
		}
		return name + " (pid " + strconv.Itoa(h.Pid) + owner + ") on " + h.Address
	case h.User != "":
		return "a process of " + owner + " (uid " + strconv.Itoa(h.UID) + ") on " + h.Address
	case owner != "":
		return "a process of " + owner + " on " + h.Address
	}
	return "an unknown process on " + h.Address
}

// Holders lists the sockets that overlap t and therefore refuse it, unless both
// sides share with SO_REUSEPORT: TCP sockets that listen, and TCP sockets that
// are only bound if the kernel shows them (Linux 6.8); UDP and Unix sockets
// that are bound. The best match is first: the address itself, then the
// wildcard of the same family, then addresses that a wildcard t would take, and
// last sockets of the other family.
//
// It sees the network namespace of the calling thread, and names the processes
// that the caller may look into. It returns nil if there is nothing to see, and
// on systems other than Linux.
func Holders(t Target) []Holder {
	var list []Holder
	for _, h := range heldBy(t) {
		list = append(list, h.Holder)
	}
	return list
}

// overlap is how a socket is in the way of a target, the best match first.
type overlap int

const (
	apart       overlap = iota // not in the way
	same                       // the address itself
	covering                   // a wildcard of the same family
	covered                    // the target is the wildcard
	dualCover                  // a wildcard of IPv6 that takes IPv4 too
	dualCovered                // the target is such a wildcard
)

// held is a Holder with what a diagnosis wants to know beyond it.
type held struct {
	Holder
	overlap overlap
	idle    bool // bound but not listening
}

// overlapOf tells whether a socket at addr, of one of the families above, is in
// the way of t, which is a TCP or UDP target.
func overlapOf(t Target, addr netip.AddrPort, family string) overlap {
	if t.Addr.Port() == 0 || addr.Port() != t.Addr.Port() {
		return apart
	}
	want := t.Addr.Addr().Unmap().WithZone("")
	has := addr.Addr().Unmap().WithZone("")
	if want.Is4() == has.Is4() {
		switch {
		case has == want:
			return same
		case has.IsUnspecified():
			return covering
		case want.IsUnspecified():
			return covered
		}
		return apart
	}
	if want.Is4() && has.IsUnspecified() && family != familyIPv6 {
		return dualCover
	}
	if has.Is4() && want.IsUnspecified() && !t.V6Only {
		return dualCovered
	}
	return apart
}

// ranked sorts holders, best match first, and removes repetitions: a server
// with SO_REUSEPORT has one socket for each of its workers.
func ranked(list []held) []held {
	slices.SortStableFunc(list, func(a, b held) int {
		return cmp.Or(cmp.Compare(a.overlap, b.overlap), boolCompare(a.idle, b.idle),
			boolCompare(a.Pid == 0, b.Pid == 0), cmp.Compare(a.Pid, b.Pid))
	})
	return slices.Compact(list)
}

// boolCompare puts false before true.
func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// userName returns the name of a user, or "".
func userName(uid int) string {
	if uid < 0 {
		return ""
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}
