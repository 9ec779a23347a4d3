package listeners

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
)

var someTarget = Target{Network: "tcp", Addr: netip.MustParseAddrPort("192.0.2.1:80")}

func TestDiagnoseKeepsTheCause(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("opening: %w", os.NewSyscallError("bind", syscall.ENOBUFS))
	d := Diagnose(someTarget, cause)
	if !errors.Is(d, syscall.ENOBUFS) || !errors.Is(d, cause) || errors.Is(d, syscall.EADDRINUSE) {
		t.Errorf("%#v", d)
	}
	if want := "192.0.2.1:80: " + cause.Error(); d.Error() != want {
		t.Errorf("got %q, want %q", d.Error(), want)
	}
	if again := Diagnose(Target{}, fmt.Errorf("again: %w", d)); again != d {
		t.Errorf("explained twice: %v", again)
	}
	if d := Diagnose(someTarget, nil); d != nil {
		t.Error(d)
	}
	bare := Diagnose(someTarget, os.NewSyscallError("bind", syscall.ENOBUFS))
	if want := "192.0.2.1:80: " + syscall.ENOBUFS.Error(); bare.Error() != want {
		t.Errorf("got %q, want %q", bare.Error(), want)
	}
}

// What cannot be provoked on every machine.
func TestDiagnoseMadeUpCauses(t *testing.T) {
	t.Parallel()
	option := func(name, value string, err error) error { return &OptionError{Name: name, Value: value, Err: err} }
	for _, c := range []struct {
		err   error
		words []string
	}{
		{syscall.ENFILE, []string{"the system has as many open files"}},
		{syscall.EPERM, []string{"a rule of this system forbids it", "SocketBindDeny="}},
		{&os.PathError{Op: "chown", Path: "/x", Err: syscall.EPERM}, []string{"chown /x: "}},
		{option("user", "shop", syscall.EPERM), []string{"option user=shop needs the capability CAP_CHOWN"}},
		{option("tos", "300", syscall.EINVAL), []string{"does not take this value for option tos=300"}},
		{option("freebind", "on", syscall.ENOPROTOOPT), []string{"refuses option freebind on", "leave the option out"}},
		{option("mptcp", "on", syscall.EPROTONOSUPPORT), []string{"has no MPTCP", "mptcp=off"}},
		{option("fixed", "", errors.New("stays as it is")), []string{"option fixed: stays as it is"}},
		{&net.DNSError{Name: "nope.invalid", IsNotFound: true}, []string{`host name "nope.invalid" is unknown`}},
		{&net.DNSError{Name: "a.example", IsTimeout: true}, []string{"no answer from the name server", "retry=10s"}},
		{&net.DNSError{Name: "a.example", Err: "server misbehaving"}, []string{"server misbehaving", "retry=10s"}},
	} {
		text := Diagnose(someTarget, c.err).Error()
		for _, word := range append(c.words, "192.0.2.1:80: ") {
			if !strings.Contains(text, word) {
				t.Errorf("%v: %q is missing in %s", c.err, word, text)
			}
		}
	}
}

func TestDiagnosisIsOneLine(t *testing.T) {
	t.Parallel()
	d := &Diagnosis{
		Target: Target{Network: "unix", Path: "/run/a\nb"}, Reason: "in use by \x1b[31mevil", Remedy: "stop it\r\n", Err: syscall.EADDRINUSE,
	}
	if want := "/run/a?b: in use by ?[31mevil; stop it??"; d.Error() != want {
		t.Errorf("got %q, want %q", d.Error(), want)
	}
}

func TestListIsCut(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "none", 1: "a", 8: "a, a, a, a, a, a, a, a", 10: "a, a, a, a, a, a, a, a and 2 more"} {
		if got := list(strings.Split(strings.Repeat("a", n), "")); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "''", "/run/a.sock": "/run/a.sock", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'"} {
		if got := shellQuote(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target string
		v6only bool
		socket string
		family string
		want   overlap
	}{
		{"127.0.0.1:80", false, "127.0.0.1:80", familyIPv4, same},
		{"127.0.0.1:80", false, "127.0.0.1:81", familyIPv4, apart},
		{"127.0.0.1:80", false, "127.0.0.2:80", familyIPv4, apart},
		{"127.0.0.1:80", false, "0.0.0.0:80", familyIPv4, covering},
		{"0.0.0.0:80", false, "127.0.0.1:80", familyIPv4, covered},
		{"127.0.0.1:80", false, "[::]:80", familyDual, dualCover},
		{"127.0.0.1:80", false, "[::]:80", familyIPv6, apart},
		{"127.0.0.1:80", false, "[::1]:80", familyIPv6, apart},
		{"0.0.0.0:80", false, "[::]:80", familyDual, dualCover},
		{"[::]:80", false, "0.0.0.0:80", familyIPv4, dualCovered},
		{"[::]:80", true, "0.0.0.0:80", familyIPv4, apart},
		{"[::]:80", true, "[::1]:80", familyIPv6, covered},
		{"[::1]:80", true, "[::]:80", familyDual, covering},
		{"[::1]:80", true, "0.0.0.0:80", familyIPv4, apart},
		{"[fe80::1%lo]:80", true, "[fe80::1]:80", familyIPv6, same},
		{"[::ffff:127.0.0.1]:80", false, "127.0.0.1:80", familyIPv4, same},
		{"127.0.0.1:0", false, "127.0.0.1:0", familyIPv4, apart},
	} {
		target := Target{Network: "tcp", Addr: netip.MustParseAddrPort(c.target), V6Only: c.v6only}
		if got := overlapOf(target, netip.MustParseAddrPort(c.socket), c.family); got != c.want {
			t.Errorf("%s (v6only %v) and %s (%s): got %d, want %d", c.target, c.v6only, c.socket, c.family, got, c.want)
		}
	}
}
