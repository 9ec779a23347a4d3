//go:build !linux && !darwin && !freebsd

package listeners

// PeerSupported tells whether the platform knows the peers of Unix sockets.
const PeerSupported = false

func peerOfSocket(int) (Peer, bool) { return Peer{}, false }
