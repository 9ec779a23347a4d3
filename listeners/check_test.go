package listeners

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// testSets are sets of options.
type testSets map[string]Options

func (s testSets) ListenerOptions(name string) (Options, error) {
	if set, ok := s[name]; ok {
		return set, nil
	}
	return nil, fmt.Errorf("unknown listener %q", name)
}

// takePort listens on a port that the system chose.
func takePort(t *testing.T, host string) int {
	t.Helper()
	ln, err := net.Listen("tcp4", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}

func TestCheckRefusesWrongAddresses(t *testing.T) {
	t.Parallel()
	sets := testSets{"files": {"user": {Text: "root"}}}
	for address, says := range map[string]string{
		"ipv4/:0-99999":              "invalid end port",
		"ipv4/127.0.0.1:80?backlog=": "options stand before the port, as in ipv4/eth0?backlog=64:443",
		"ipv4/[::1]:80":              "use ipv6/::1",
		"ipv4/?backlg=5:80":          `unknown option "backlg": allowed are backlog, `,
		"ipv4/?backlog=0:80":         "not a whole number from 1 to",
		"ipv4/?use=edge:80":          `unknown listener "edge"`,
		"ipv4/?use=files:80":         "listener files has option user, which network ipv4 does not",
		"unixsock//run/x|0777|1":     "permission",
		"unixsock//run/x|0999":       "permission bits",
		"unixsock/":                  "a path is missing",
		"systemd/:80":                "FileDescriptorName",
		"unix//run/x":                "network unix is not one of ours: gin knows ipv4, ipv6, dual, unixsock, systemd",
		"fd/3":                       "network fd is not one of ours",
		"nonsense/host:80":           "network nonsense is not one of ours",
	} {
		r := Check(t.Context(), address, 80, sets)
		if r.OK() || len(r.Targets) != 0 || !strings.Contains(r.Error, says) {
			t.Errorf("%s: want the error %q, got %+v", address, says, r)
		}
	}
	if r := Check(t.Context(), "ipv4/?use=edge:80", 80, nil); !strings.Contains(r.Error, "there is no global option gin") {
		t.Errorf("without sets: %+v", r)
	}
	if r := Check(t.Context(), "ipv4/", 65536, nil); !strings.Contains(r.Error, "not a port from 0 to 65535") {
		t.Errorf("impossible default port: %+v", r)
	}
}

func TestCheckTellsWhatWouldBeBound(t *testing.T) {
	t.Parallel()
	if ipv6Usable() != nil {
		t.Skip("no IPv6")
	}
	for address, want := range map[string][]string{
		"ipv4/:0":              {"tcp 0.0.0.0:0, IPv4 only"},
		"ipv4/127.0.0.1:0":     {"tcp 127.0.0.1:0, IPv4 only"},
		"ipv6/:0":              {"tcp [::]:0, IPv6 only"},
		"ipv6/[::1]:0":         {"tcp [::1]:0, IPv6 only"},
		"dual/localhost:0":     {"tcp 127.0.0.1:0, IPv4 only", "tcp [::1]:0, IPv6 only"},
		"tcp4/:0":              {"tcp 0.0.0.0:0, IPv4 only"},
		"tcp6/:0":              {"tcp [::]:0, IPv6 only"},
		"udp/127.0.0.1:0":      {"udp 127.0.0.1:0, IPv4 only"},
		"localhost:0":          {"tcp 127.0.0.1:0, IPv4 only"},
		"ipv4/?backlog=64:0":   {"tcp 0.0.0.0:0, IPv4 only"},
		"ipv4/?use=edge&tos=8": {"tcp 0.0.0.0:0, IPv4 only"},
	} {
		if runtime.GOOS == "windows" && strings.Contains(address, "?") {
			continue
		}
		r := Check(t.Context(), address, 0, testSets{"edge": {"backlog": {Text: "77", N: 77}, "tos": {Text: "4", N: 4}}})
		var got []string
		for _, target := range r.Targets {
			got = append(got, target.describe())
			if !strings.Contains(target.Note, "the system chooses the port") {
				t.Errorf("%s: note %q", address, target.Note)
			}
		}
		if !r.OK() || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v; %s", address, got, want, r)
		}
		if strings.Contains(address, "use=") && fmt.Sprint(r.Options) != "map[backlog:77 tos:8]" {
			t.Errorf("%s: options %v", address, r.Options)
		}
		if chosen := strings.Contains(r.Note, "no port is given, so it is checked at 0"); chosen != strings.HasSuffix(address, "8") {
			t.Errorf("%s: note %q", address, r.Note)
		}
	}
	if dualStack {
		if r := Check(t.Context(), "dual/:0", 80, nil); !r.OK() || r.Targets[0].describe() != "tcp [::]:0, IPv4 and IPv6" {
			t.Errorf("dual: %s", r)
		}
	}
	r := CheckHTTP3(t.Context(), "dual/localhost:0", 80, nil)
	if last := r.Targets[len(r.Targets)-1]; len(r.Targets) != 3 || last.Network != "udp" {
		t.Errorf("HTTP/3: %s", r)
	}
	if r := CheckHTTP3(t.Context(), "127.0.0.1:0", 80, nil); len(r.Targets) != 2 || r.Targets[1].Network != "udp" {
		t.Errorf("HTTP/3 on Caddy's own network: %s", r)
	}
}

// What Check says of Caddy's own networks is what Go binds.
func TestCheckKnowsWhatGoBinds(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "tcp4", "tcp6"} {
		for _, host := range []string{"", "0.0.0.0", "127.0.0.1", "::", "::1", "localhost"} {
			target, err := checker{ctx: t.Context()}.stockTarget(network, host, 0)
			ln, errGo := net.Listen(network, net.JoinHostPort(host, "0"))
			if (err == nil) != (errGo == nil) {
				if strings.HasPrefix(host, ":") && errGo != nil { // no IPv6 here: seen when it is bound
					continue
				}
				t.Errorf("%s/%s: we say %v, Go %v", network, host, err, errGo)
				continue
			}
			if errGo != nil {
				continue
			}
			addr := ln.Addr().(*net.TCPAddr).AddrPort().Addr()
			ln.Close()
			if target.Addr.Addr() != addr.Unmap() {
				t.Errorf("%s/%s: we say %s, Go binds %s", network, host, target, addr)
			}
		}
	}
}

func TestCheckFindsPortTaken(t *testing.T) {
	t.Parallel()
	port := takePort(t, "127.0.0.1")
	for _, address := range []string{"ipv4/127.0.0.1", "ipv4/", "tcp4/127.0.0.1", "dual/localhost"} {
		r := Check(t.Context(), address, uint(port), nil)
		d := r.Targets[0].Diagnosis
		if r.OK() || r.Error != "" || d == nil || !errors.Is(d, syscall.EADDRINUSE) || d.Remedy == "" {
			t.Errorf("%s: %s", address, r)
			continue
		}
		if runtime.GOOS == "linux" && (len(d.Holders) == 0 || d.Holders[0].Pid != os.Getpid()) {
			t.Errorf("%s: holders %v", address, d.Holders)
		}
	}
	if ipv6Usable() == nil {
		if r := Check(t.Context(), "ipv6/[::1]", uint(port), nil); !r.OK() {
			t.Errorf("the other family: %s", r)
		}
	}
}

func TestCheckFollowsFallback(t *testing.T) {
	t.Parallel()
	port := takePort(t, "127.0.0.1")
	last := min(port+200, 65535)
	r := Check(t.Context(), fmt.Sprintf("ipv4/127.0.0.1?fallback=%d-%d:%d", port, last, port), 0, nil)
	if !r.OK() || len(r.Targets) != 1 || !strings.Contains(r.Targets[0].Note, fmt.Sprintf("port %d is taken (in use", port)) {
		t.Fatal(r)
	}
	if at := netip.MustParseAddrPort(r.Targets[0].Target).Port(); int(at) <= port || int(at) > last {
		t.Errorf("falls back to port %d of %d-%d", at, port, last)
	}
	r = Check(t.Context(), fmt.Sprintf("ipv4/127.0.0.1?fallback=%d:%d", port, port), 0, nil)
	if r.OK() || !strings.Contains(r.Targets[0].Note, fmt.Sprintf("all ports of fallback=%d are taken too", port)) {
		t.Error(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // does not try 60,000 ports
	if r = Check(ctx, fmt.Sprintf("ipv4/127.0.0.1?fallback=1-65535:%d", port), 0, nil); r.OK() {
		t.Error(r)
	}
}

func TestCheckWithoutAddress(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no name server is needed
	for address, says := range map[string]string{
		"ipv4/no-such-host.invalid?retry=2s:80": `"no-such-host.invalid" is no interface (there are `,
		"tcp/no-such-host.invalid:80":           `host name "no-such-host.invalid"`,
		"systemd/web:80":                        "systemd passed no sockets",
	} {
		r := Check(ctx, address, 80, nil)
		if r.OK() || r.Error != "" || len(r.Targets) != 1 || r.Targets[0].Diagnosis == nil {
			t.Errorf("%s: %s", address, r)
			continue
		}
		if got := r.Targets[0]; !strings.Contains(got.Diagnosis.Reason, says) || got.Diagnosis.Remedy == "" {
			t.Errorf("%s: %s", address, r)
		} else if strings.Contains(address, "retry") && got.Note != "at start it is tried again for 2s" {
			t.Errorf("%s: note %q", address, got.Note)
		}
	}
}

// What this process has open is not in its own way.
func TestCheckSharesOwnSockets(t *testing.T) {
	t.Parallel()
	opened, err := listenStream(t.Context(), IPv4, "127.0.0.1", "0", 0, net.ListenConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ln := opened.(net.Listener)
	port := uint(ln.Addr().(*net.TCPAddr).Port)
	for address, says := range map[string]string{
		"ipv4/127.0.0.1": "this process has it open, and its configurations share it",
		"ipv4/":          fmt.Sprintf("this process has 127.0.0.1:%d open, which its next configuration may replace", port),
	} {
		if r := Check(t.Context(), address, port, nil); !r.OK() || r.Targets[0].Note != says {
			t.Errorf("%s: %s", address, r)
		}
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if own, _ := sockets.have(Target{Network: "tcp", Addr: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port))}); own != "" {
		t.Errorf("after Close the pool has %s", own)
	}
}

func TestReportText(t *testing.T) {
	t.Parallel()
	d := &Diagnosis{Target: Target{Network: "tcp", Addr: netip.MustParseAddrPort("0.0.0.0:80")}, Reason: "in use by x\x1b[31m", Remedy: "stop it"}
	r := Report{Address: "ipv4/:80", Options: map[string]string{"tos": "8", "backlog": "5"}, Note: "a note", Targets: []TargetReport{
		{Network: "tcp", Target: "0.0.0.0:80", Family: "IPv4", Diagnosis: d, Note: "another"},
		{Network: "tcp", Target: "[::1]:80", Family: "IPv6", V6Only: true, OK: true},
	}}
	const want = `ipv4/:80: something is in the way
  options: backlog=5, tos=8
  note: a note
  blocked tcp 0.0.0.0:80, IPv4 only
      in use by x?[31m
      remedy: stop it
      note: another
  ok      tcp [::1]:80, IPv6 only
`
	var b bytes.Buffer
	n, err := r.WriteTo(&b)
	if b.String() != want || err != nil || n != int64(len(want)) {
		t.Errorf("got %d, %v:\n%s", n, err, b.String())
	}
	if text := (Report{Address: "x", Error: "bad"}).String(); text != "x: wrong address\n  error: bad\n" {
		t.Errorf("got %q", text)
	}
	body, err := json.Marshal(r)
	var back struct {
		OK      *bool
		Targets []struct {
			OK        bool
			Diagnosis *struct{ Reason string }
		}
	}
	if err == nil {
		err = json.Unmarshal(body, &back)
	}
	if err != nil || back.OK == nil || *back.OK || len(back.Targets) != 2 || back.Targets[0].Diagnosis == nil || !back.Targets[1].OK {
		t.Errorf("%v: %s", err, body)
	}
}

func TestMarkTwice(t *testing.T) {
	t.Parallel()
	var reports []Report
	for _, address := range []string{"ipv4/127.0.0.1:1", "ipv4/127.0.0.1?backlog=5:1", "ipv4/127.0.0.1:2", "dual/localhost:2", "tcp4/127.0.0.1:2", "unix//x", "ipv4/:0", "ipv4/?tos=8:0"} {
		r := Report{Address: address}
		if na, err := caddy.ParseNetworkAddress(address); err == nil && Checkable(na.Network) {
			ip := "127.0.0.1"
			if na.StartPort == 0 {
				ip = "0.0.0.0"
			}
			r.Targets = []TargetReport{{Network: "tcp", Target: fmt.Sprintf("%s:%d", ip, na.StartPort), OK: true}}
		}
		reports = append(reports, r)
	}
	MarkTwice(reports)
	for i, want := range []bool{true, false, true, false, true, true, true, true} {
		if reports[i].OK() != want {
			t.Errorf("%s: OK is %v", reports[i].Address, !want)
		}
	}
	if d := reports[1].Targets[0].Diagnosis; d == nil || !errors.Is(d, errTwice) || !strings.Contains(d.Reason, "ipv4/127.0.0.1:1 of this configuration") {
		t.Errorf("got %v", d)
	}
}
