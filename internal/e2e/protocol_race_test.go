//go:build race

package e2e

const protocolRace = true
