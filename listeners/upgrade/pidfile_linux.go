package upgrade

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/caddyserver/caddy/v2"
)

// ownPIDFile writes this process' ID to the service's PID file, if there is one:
// the whole of it, or nothing.
func ownPIDFile() error {
	path := self.pidFile
	if path == "" || hasPIDFile() {
		return nil
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("writing the PID file: %w", err)
	}
	_, err = fmt.Fprintln(file, os.Getpid())
	err = errors.Join(err, file.Chmod(0o600), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
		return fmt.Errorf("writing the PID file: %w", err)
	}
	return nil
}

// hasPIDFile reports whether the file has this process' ID.
func hasPIDFile() bool {
	text, err := os.ReadFile(self.pidFile)
	return err == nil && string(text) == strconv.Itoa(os.Getpid())+"\n"
}

// removePIDFile removes the file if it has this process' ID.
func removePIDFile() {
	if hasPIDFile() {
		_ = os.Remove(self.pidFile)
	}
}

// forgetPIDFile has Caddy not remove the file at this process' end, which the
// successor has written: Caddy remembers the last one only.
func forgetPIDFile() error {
	if self.pidFile == "" {
		return nil
	}
	file, err := os.CreateTemp("", "caddy-pid-*")
	if err != nil {
		return err
	}
	return errors.Join(file.Close(), caddy.PIDFile(file.Name()))
}
