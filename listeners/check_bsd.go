//go:build darwin || freebsd

package listeners

import "os"

// mute reports that clients cannot be kept away from a socket, so that it must
// not listen.
func mute(int) bool { return false }

func aside(int) bool { return false }

func discreet(Target, Options) bool { return false }

func sameProgram(int) bool { return false }

func mayGiveAway() bool { return os.Geteuid() == 0 }

func mayRemoveAll() bool { return os.Geteuid() == 0 }
