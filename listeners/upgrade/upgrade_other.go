//go:build !linux

package upgrade

import (
	"fmt"
	"net/http"
	"runtime"
)

// Admin is the admin endpoint through which an upgrade was asked for.
type Admin struct{}

// NewAdmin returns nothing here.
func NewAdmin(*http.Request) (*Admin, error) { return nil, Check() }

// Check says that processes are not replaced on this system.
func Check() error {
	return fmt.Errorf("the binary of a running process cannot be replaced on %s, only on Linux: restart it", runtime.GOOS)
}

// Run fails here.
func Run(Options, *Admin, Hooks, func(Event)) error { return Check() }

// Leave does nothing here.
func Leave() {}

// ReapCommand is the name of the subcommand of `caddy gin` that calls Reap. It is
// not for users.
const ReapCommand = "reap"

// Reap does nothing here.
func Reap(int) int { return 1 }
