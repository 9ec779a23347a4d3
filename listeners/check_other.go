//go:build !linux && !darwin && !freebsd

package listeners

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// errTried ends an attempt to listen after its bind.
var errTried = errors.New("tried")

// probe binds a socket of IP for a moment. Where it cannot be kept from
// listening, it does that too.
func probe(t Target, _ Options, _ bool) error {
	verdict := errTried
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var known bool
		err := conn.Control(func(fd uintptr) { known, verdict = bindOnly(fd, t) })
		if known {
			return errTried
		}
		return err
	}}
	var socket interface{ Close() error }
	var err error
	if t.Network == "udp" {
		socket, err = config.ListenPacket(context.Background(), familyNetwork(t), t.Addr.String())
	} else {
		socket, err = config.Listen(context.Background(), familyNetwork(t), t.Addr.String())
	}
	switch {
	case err == nil:
		return socket.Close()
	case errors.Is(err, errTried):
		return verdict
	}
	return err
}

// familyNetwork returns Go's name of the network of one family.
func familyNetwork(t Target) string {
	if t.Addr.Addr().Is4() {
		return t.Network + "4"
	}
	return t.Network + "6"
}

// path looks at what a Unix socket would be made of.
func (c checker) path(t Target, options Options) TargetReport {
	r := reportOn(t)
	if _, same := sockets.have(t); same {
		r.OK = true
		r.note("this process has it open, and its configurations share it")
		return r
	}
	r.judge(t, lookAt(t, options))
	return r
}

func lookAt(t Target, options Options) error {
	if v, ok := options[modeOption]; ok && v.N != int64(DefaultMode) {
		return fmt.Errorf("sockets have no mode on %s: give the folder the permissions, and no |%s", runtime.GOOS, v.Text)
	}
	if strings.HasPrefix(t.Path, "@") {
		return errors.New("abstract sockets exist on Linux only; use a path")
	}
	if len(t.Path) > longestSocketPath() {
		return syscall.EINVAL
	}
	if _, err := os.Stat(filepath.Dir(t.Path)); err != nil {
		return err
	}
	if _, err := os.Lstat(t.Path); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, syscall.EADDRINUSE)
	}
	return nil
}

func sameProgram(int) bool { return false }

func discreet(Target, Options) bool { return false }
