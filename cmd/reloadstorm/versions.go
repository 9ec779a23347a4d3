package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// buildVersions builds this program twice, of code that differs in what the app
// greets with, and returns their paths. It needs Go, and to be run inside of the
// module.
func buildVersions(ctx context.Context, dir string) ([]string, error) {
	const module = "github.com/caddy-gin/caddy-gin"
	var paths []string
	for _, version := range []string{"1", "2"} {
		path := filepath.Join(dir, "version"+version)
		cmd := exec.CommandContext(ctx, "go", "build", "-o", path,
			"-ldflags", "-X "+module+"/internal/storm/stormapp.Version="+version, module+"/cmd/reloadstorm")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building a server to upgrade: %w\n%s", err, out)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// install puts a version of the server in its place, as a deployment does; 1 is
// the first.
func (s *site) install(version int) error {
	next := s.self + ".new"
	if err := os.Link(s.versions[version-1], next); err != nil {
		return err
	}
	s.version = version
	return os.Rename(next, s.self)
}

// installOther puts the version in place that is not there.
func (s *site) installOther() error { return s.install(len(s.versions) + 1 - s.version) }
