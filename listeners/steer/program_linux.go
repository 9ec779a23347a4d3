package steer

import (
	"errors"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Numbers of the sockets of a group.
const (
	oldest = 0
	next   = 1 // the one that joined after
)

// attach makes a program choose for the group of a socket. For listening
// sockets of MPTCP, which Go's listeners are by default, the kernel takes it
// only through a socket of TCP: one joins the group for that moment.
func attach(fd int, program []bpf.Instruction) error {
	err := setProgram(fd, unix.SO_ATTACH_REUSEPORT_CBPF, program)
	if !refused(err) {
		return err
	}
	return besides(fd, func(guest int) error {
		return setProgram(guest, unix.SO_ATTACH_REUSEPORT_CBPF, program)
	})
}

// detach leaves the choice to the kernel again.
func detach(fd int) error {
	err := removeProgram(fd)
	if !refused(err) {
		return err
	}
	return besides(fd, removeProgram)
}

// refused tells whether a socket does not know the option.
func refused(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT)
}

func setProgram(fd, option int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return os.NewSyscallError("setsockopt of a BPF program",
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, option, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}))
}

// removeProgram is fine with a group that has none.
func removeProgram(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return os.NewSyscallError("setsockopt SO_DETACH_REUSEPORT_BPF", err)
}
