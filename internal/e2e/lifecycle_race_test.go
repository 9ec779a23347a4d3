//go:build race

package e2e

// lifeRace is true under the race detector, where everything takes several
// times as long.
const lifeRace = true
