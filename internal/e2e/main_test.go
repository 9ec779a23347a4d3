// Package e2e tests the plugin from outside: a real Caddy as a child process,
// real clients, real sockets.
package e2e

import (
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestMain(m *testing.M) { testcaddy.Main(m) }
