package testcaddy

import (
	"os"
	"os/exec"
	"testing"
)

// Program returns the path of a program that a test needs. Where it is
// missing, the test is skipped; with CI=true, it fails.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		t.Fatalf("%s is not installed", name)
	default:
		t.Skipf("%s is not installed", name)
	}
	return ""
}
