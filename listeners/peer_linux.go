package listeners

import (
	"math"

	"golang.org/x/sys/unix"
)

// PeerSupported tells whether the platform knows the peers of Unix sockets.
const PeerSupported = true

func peerOfSocket(fd int) (Peer, bool) {
	// a socket of another family has credentials, too: those of nobody
	if family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || family != unix.AF_UNIX {
		return Peer{}, false
	}
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || cred.Uid == math.MaxUint32 { // not connected
		return Peer{}, false
	}
	return Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}, true
}
