//go:build !unix

package main

import (
	"math"
	"os"
	"syscall"
)

var reloadSignal = os.Kill

func needsReusePort() string { return "no SO_REUSEPORT on this system" }

func reusePort(_, _ string, _ syscall.RawConn) error { return nil }

func maxDescriptors() int { return math.MaxInt32 }
