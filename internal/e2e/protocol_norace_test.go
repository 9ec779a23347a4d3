//go:build !race

package e2e

// protocolRace tells whether the race detector is in this binary, and so in
// the Caddy that the tests start: memory is not worth measuring then.
const protocolRace = false
