package listeners

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"
)

// Diagnosis explains why a target could not be bound. It is an error that wraps
// its cause: errors.Is(err, syscall.EADDRINUSE) holds, on Windows too.
type Diagnosis struct {
	Target  Target   `json:"target"`
	Err     error    `json:"-"`                 // the cause
	Reason  string   `json:"reason"`            // what is wrong; the cause's text if there is no more to say
	Remedy  string   `json:"remedy,omitempty"`  // what to do about it; may be empty
	Holders []Holder `json:"holders,omitempty"` // who is in the way, best match first
}

// Error returns one line: "<target>: <reason>; <remedy>".
func (d *Diagnosis) Error() string {
	text := d.Target.String() + ": " + d.Reason
	if d.Remedy != "" {
		text += "; " + d.Remedy
	}
	return oneLine(text)
}

// Unwrap returns the cause.
func (d *Diagnosis) Unwrap() error { return d.Err }

// Is makes errors.Is find the portable number of an error of Windows' sockets.
func (d *Diagnosis) Is(target error) bool {
	number, ok := target.(syscall.Errno)
	return ok && number != 0 && errnoOf(d.Err) == number
}

// Diagnose explains err, an error of socket, setsockopt, bind, listen or a
// look-up for t. It looks at the system as it is now: the sockets, interfaces,
// folders and settings that the caller sees, in the network namespace of its
// thread. An err that holds a Diagnosis already is not explained again; that of
// nil is nil.
func Diagnose(t Target, err error) *Diagnosis {
	if err == nil {
		return nil
	}
	if known := (*Diagnosis)(nil); errors.As(err, &known) {
		return known
	}
	d := &Diagnosis{Target: t, Err: err}
	d.explain(errnoOf(err))
	if d.Reason == "" {
		d.Reason = plain(err)
	}
	return d
}

// explain sets Reason and Remedy, if it knows more than the system's text.
func (d *Diagnosis) explain(errno syscall.Errno) {
	var option *OptionError
	var lookup *net.DNSError
	switch {
	case errors.As(d.Err, &option) && option.Name != "mkdir":
		d.optionRefused(option, errno)
		return
	case errors.As(d.Err, &lookup):
		d.unresolved(lookup)
		return
	}
	file := d.Target.Network == "unix" && !strings.HasPrefix(d.Target.Path, "@")
	switch errno {
	case syscall.EADDRINUSE:
		d.Holders, d.Reason, d.Remedy = inUse(d.Target)
	case syscall.EACCES:
		if file {
			d.pathDenied()
		} else {
			d.portDenied()
		}
	case syscall.EPERM:
		d.forbidden()
	case syscall.EADDRNOTAVAIL:
		d.notLocal()
	case syscall.EAFNOSUPPORT:
		d.noFamily()
	case syscall.EINVAL, syscall.ENAMETOOLONG:
		d.invalid()
	case syscall.ENODEV:
		d.noInterface(d.Target.Addr.Addr().Zone())
	case syscall.ENOENT, syscall.ENOTDIR:
		if file {
			d.noFolder()
		}
	case syscall.EROFS:
		if file {
			d.Reason = "the file system is read-only at " + nearestFolder(d.Target.Path)
			d.Remedy = "use a path under /run, or if a systemd unit makes it read-only (ProtectSystem=), add ReadWritePaths= or RuntimeDirectory= to the unit"
		}
	case syscall.EMFILE:
		d.Reason = "this process has as many open files as it may" + openFilesLimit()
		d.Remedy = "raise the limit: LimitNOFILE= in the systemd unit, or `ulimit -n`"
	case syscall.ENFILE:
		d.Reason = "the system has as many open files as it allows"
		d.Remedy = "close some, or raise the limit (on Linux `sysctl fs.file-max`, now " + orUnknown(sysctl("fs/file-max")) + ")"
	}
}

// capabilityOf is what setting an option takes on Linux.
var capabilityOf = map[string]string{
	"device":      "CAP_NET_RAW",
	"group":       "CAP_CHOWN",
	"mark":        "CAP_NET_ADMIN",
	"transparent": "CAP_NET_RAW or CAP_NET_ADMIN",
	"user":        "CAP_CHOWN",
}

func (d *Diagnosis) optionRefused(option *OptionError, errno syscall.Errno) {
	label := "option " + option.Name
	if option.Value != "" && option.Value != "on" {
		label += "=" + option.Value
	}
	switch errno {
	case syscall.EPERM, syscall.EACCES:
		capability := capabilityOf[option.Name]
		if capability == "" {
			capability = "CAP_NET_ADMIN"
		}
		d.Reason = label + " needs the capability " + capability + ", which this process lacks"
		first, _, _ := strings.Cut(capability, " ")
		d.Remedy = "add AmbientCapabilities=" + first + " to the systemd unit, or leave the option out"
	case syscall.ENODEV:
		d.noInterface(option.Value)
		d.Reason = label + ": " + d.Reason
	case syscall.ENOPROTOOPT, syscall.EOPNOTSUPP, syscall.EPROTONOSUPPORT:
		if option.Name == "mptcp" {
			d.Reason = "the kernel has no MPTCP, or has it switched off (net.mptcp.enabled is " + orUnknown(sysctl("net/mptcp/enabled")) + ")"
			d.Remedy = "leave the option out, or say mptcp=off"
			return
		}
		d.Reason = "the kernel refuses " + label + " on this kind of socket"
		d.Remedy = "leave the option out"
		if d.Target.Network == "tcp" && protocolHasMPTCP() {
			d.Reason += " (MPTCP sockets lack several)"
			d.Remedy = "add mptcp=off, or leave the option out"
		}
	case syscall.EINVAL, syscall.ERANGE, syscall.EDOM:
		d.Reason = "the kernel does not take this value for " + label
		d.Remedy = "use another value, or leave the option out"
	}
}

func (d *Diagnosis) unresolved(lookup *net.DNSError) {
	name := fmt.Sprintf("host name %q", lookup.Name)
	switch {
	case lookup.IsNotFound:
		d.Reason = name + " is unknown"
		d.Remedy = "correct it, add it to /etc/hosts, or use an address"
	case lookup.IsTimeout:
		d.Reason = name + " could not be looked up: no answer from the name server"
		d.Remedy = "use an address, or wait with retry=10s if the network comes up late"
	default:
		d.Reason = name + " could not be looked up: " + lookup.Err
		d.Remedy = "use an address, or wait with retry=10s if the network comes up late"
	}
}

// forbidden explains EPERM without an option. Capabilities for binding a port
// give EACCES, so this comes from a rule.
func (d *Diagnosis) forbidden() {
	if errors.As(d.Err, new(*os.PathError)) {
		return // its text names what was tried
	}
	d.Reason = "a rule of this system forbids it"
	d.Remedy = "look for SocketBindDeny= or SystemCallFilter= in the systemd unit, a BPF program of the control group, or a profile of the container"
}

// plain is the text of a cause that needs no more words: of a call to the
// system, what the system says.
func plain(err error) string {
	if call := (*os.SyscallError)(nil); errors.As(err, &call) && err == error(call) { //nolint:errorlint // only if nothing is around it
		return call.Err.Error()
	}
	return err.Error()
}

// mostListed is how many things a line lists.
const mostListed = 8

// list joins texts, and cuts what is too long for a line.
func list(texts []string) string {
	if len(texts) == 0 {
		return "none"
	}
	if len(texts) <= mostListed {
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(texts[:mostListed], ", "), len(texts)-mostListed)
}

// oneLine replaces what would break a line or change a terminal: names of
// processes and paths may hold anything.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, text)
}

// shellQuote quotes a text for a shell if it needs it.
func shellQuote(text string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-@:+,%", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// orUnknown returns a setting's value, or a word for a missing one.
func orUnknown(value string) string {
	if value == "" {
		return "unknown"
	}
	return value
}
