package upgrade

import (
	"debug/elf"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

// A file that is not a binary of Caddy with the plugin has nothing happen.
func TestUpgradeWrongBinary(t *testing.T) {
	t.Parallel()
	s := start(t, config{})
	l := newLoad(t, s)
	file := func(text string, mode os.FileMode) func() {
		return func() {
			name := filepath.Join(s.dir, "wrong")
			if err := os.WriteFile(name, []byte(text), mode); err != nil {
				t.Fatal(err)
			}
			s.put(name)
			_ = os.Remove(name)
		}
	}
	for _, c := range []struct {
		name, want string
		deploy     func()
	}{
		{"missing", "no such file or directory", func() { _ = os.Remove(s.binary) }},
		{"not executable", "permission denied", file("\x7fELF", 0o600)},
		{"empty", "exec format error", file("", 0o700)},
		{"garbage", "is not a program: exec format error", file("garbage", 0o700)},
		{"other architecture", "is for EM_PDP11, want EM_", file(otherMachine(), 0o700)},
		{"no Caddy", "is it a Caddy with this plugin?", file("#!/bin/sh\necho what is $2 >&2\nexit 9\n", 0o700)},
		{"no protocol", "unknown flag: --gin-successor", func() { s.deploy(fault.NoProtocol) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer s.in(t)()
			c.deploy()
			pid := s.onlyProcess()
			s.check(<-s.begin(), 1, c.want)
			s.unharmed(pid)
		})
	}
	l.finish()
}

// otherMachine returns the header of a program for a machine that this is not.
func otherMachine() string {
	header := elf.Header64{
		Ident:   [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(elf.EM_PDP11),
		Version: uint32(elf.EV_CURRENT),
		Ehsize:  64, Phentsize: 56, Shentsize: 64,
	}
	text, err := binary.Append(nil, binary.LittleEndian, header)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// A successor that fails before it serves leaves everything as it was.
func TestUpgradeFailsBeforeServing(t *testing.T) {
	t.Parallel()
	s := start(t, config{})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	l := newLoad(t, s)
	for _, c := range []struct {
		fault, want string
		code        int
		args        []string
	}{
		{fault.ExitBeforeHello, "the new process has ended (exit status 7); its last words: fault: ending before hello", 1, nil},
		{fault.HangBeforeHello, `the new process did not say "hello" within `, 1, []string{"--timeout", "2s"}},
		{fault.ExitInBuild, "the new process has ended (exit status 7); its last words: fault: ending in build", 3, nil},
		{fault.HangInBuild, `the new process did not say "loaded" within`, 3, []string{"--timeout", "2s"}},
		{fault.ErrorInBuild, "fault: this version wants another configuration", 3, nil},
		{fault.PanicInBuild, "fault: panic in build", 3, nil},
		{fault.WithoutApp, "upgrade-main", 3, nil},
		{fault.TakenPort + " " + taken.Addr().String(), "address already in use", 3, nil},
		{fault.ExitInSecond, "the new process has ended (exit status 7); its last words: fault: ending in the second build", 3, nil},
		{fault.HangInSecond, `the new process did not say "ready" within`, 3, []string{"--timeout", "2s"}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			defer s.in(t)()
			s.deploy(c.fault)
			s.mustFail(c.code, c.want, c.args...)
		})
	}
	l.finish()
}
