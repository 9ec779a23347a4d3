package upgrade

import (
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// flag is in the command line of a successor, which removes it before anybody reads
// that. It is for binaries that know nothing of upgrades: Caddy ends when it reads
// a flag that it does not know, before it opens a socket.
const flag = "--gin-successor"

// successorArgs returns the command line of a successor. But for the flag it is that
// of this process, so that lists of processes look as before.
func successorArgs() []string {
	return slices.Insert(slices.Clone(start.args), min(2, len(start.args)), flag)
}

// ownArgs returns the command line of this process without the flag.
func ownArgs(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == flag })
}

// explainExec says more about a file that the kernel does not execute.
func explainExec(binary string, err error) error {
	if !errors.Is(err, syscall.ENOEXEC) {
		return err
	}
	own, ownErr := elf.Open("/proc/self/exe")
	if ownErr != nil {
		return err
	}
	defer func() { _ = own.Close() }()
	file, fileErr := elf.Open(binary)
	if fileErr != nil {
		return fmt.Errorf("%s is not a program: %w", binary, syscall.ENOEXEC)
	}
	defer func() { _ = file.Close() }()
	if file.Machine != own.Machine {
		return fmt.Errorf("%s is for %v, want %v: %w", binary, file.Machine, own.Machine, syscall.ENOEXEC)
	}
	return err
}
