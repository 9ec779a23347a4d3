//go:build darwin || freebsd

package listeners

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// PeerSupported tells whether the platform knows the peers of Unix sockets.
const PeerSupported = true

// localPeerPID is LOCAL_PEERPID, which only macOS has.
const localPeerPID = 2

func peerOfSocket(fd int) (Peer, bool) {
	// level and option mean something else on a socket of another family
	if addr, err := unix.Getsockname(fd); err != nil {
		return Peer{}, false
	} else if _, ok := addr.(*unix.SockaddrUnix); !ok {
		return Peer{}, false
	}
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil || cred.Ngroups < 1 {
		return Peer{}, false
	}
	peer := Peer{UID: int(cred.Uid), GID: int(cred.Groups[0])} // the first group is the effective one
	if runtime.GOOS == "darwin" {
		if pid, err := unix.GetsockoptInt(fd, unix.SOL_LOCAL, localPeerPID); err == nil {
			peer.PID = pid
		}
	}
	return peer, true
}
