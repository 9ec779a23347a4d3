package listeners

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestDiagnoseOwnSocket(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	self := fmt.Sprintf("this process (pid %d) on ", os.Getpid())
	single, dual := listenOn(t, "tcp4", "127.0.0.1:0"), listenOn(t, "tcp", "[::]:0")
	wantWords(t, bindAndExplain(t, "tcp", "127.0.0.1:"+single), syscall.EADDRINUSE, "in use by "+self, "bind it once")
	wantWords(t, bindAndExplain(t, "tcp", "0.0.0.0:"+single), syscall.EADDRINUSE, self+"127.0.0.1", "a socket on all addresses")
	wantWords(t, bindAndExplain(t, "tcp", "127.0.0.1:"+dual), syscall.EADDRINUSE, self+"[::]:"+dual, "takes IPv4 too")
	wantWords(t, bindAndExplain(t, "tcp", "[::1]:"+dual), syscall.EADDRINUSE, self+"[::]:"+dual, "every IPv6 address")
	four := listenOn(t, "tcp4", "0.0.0.0:0")
	wantWords(t, bindAndExplain(t, "tcp", "[::]:"+four), syscall.EADDRINUSE, self+"0.0.0.0:"+four, "both families")
}

func TestDiagnoseOutgoingConnection(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	server := listenOn(t, "tcp4", "127.0.0.1:0")
	conn, err := net.Dial("tcp4", "127.0.0.1:"+server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	address := conn.LocalAddr().String()
	wantWords(t, bindAndExplain(t, "tcp", address), syscall.EADDRINUSE,
		"no process that listens on it is visible", "outgoing connection", "`ss -antp 'sport = :"+portOf(address)+"'`")
}

func TestDiagnoseNoPortLeft(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	setSysctl(t, "net/ipv4/ip_local_port_range", "40000 40001")
	listenOn(t, "tcp4", "127.0.0.1:40000")
	listenOn(t, "tcp4", "127.0.0.1:40001")
	wantWords(t, bindAndExplain(t, "tcp", "127.0.0.1:0"), syscall.EADDRINUSE, "no port is free", "40000-40001")
}

func TestDiagnoseLowPort(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	setSysctl(t, "net/ipv4/ip_unprivileged_port_start", "700")
	becomeNobody(t)
	wantWords(t, bindAndExplain(t, "tcp", "127.0.0.1:443"), syscall.EACCES,
		"ports below 700 (net.ipv4.ip_unprivileged_port_start)", "CAP_NET_BIND_SERVICE", "uid 65534",
		"setcap cap_net_bind_service=+ep /", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "ip_unprivileged_port_start=443")
	if err := bindRaw(testTarget(t, "tcp", "127.0.0.1:700")); err != nil {
		t.Error(err)
	}
	policy := Diagnose(testTarget(t, "tcp", "127.0.0.1:700"), os.NewSyscallError("bind", syscall.EACCES))
	wantWords(t, policy, syscall.EACCES, "SELinux")
}

func TestDiagnoseForeignAddress(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	ip := testcaddy.Program(t, "ip")
	addCards(t, ip)
	for i := range 10 {
		runProgram(t, ip, "addr", "add", fmt.Sprintf("192.0.2.%d/24", i+1), "dev", "card0")
	}
	runProgram(t, ip, "addr", "add", "fe80::5/64", "dev", "card0", "nodad")

	wantWords(t, bindAndExplain(t, "tcp", "192.0.2.99:8080"), syscall.EADDRNOTAVAIL,
		"not an address of this host", "127.0.0.1 (lo), 192.0.2.1 (card0)", "and 3 more", "freebind", "retry=10s", "VRRP")
	wantWords(t, bindAndExplain(t, "tcp", "[2001:db8::1]:8080"), syscall.EADDRNOTAVAIL, "::1 (lo)", "fe80::5%card0")
	wantWords(t, bindAndExplain(t, "tcp", "[fe80::5%card1]:8080"), syscall.EADDRNOTAVAIL,
		"it is an address of card0, not of card1", "write fe80::5%card0")
	late := Diagnose(testTarget(t, "tcp", "192.0.2.1:8080"), syscall.EADDRNOTAVAIL)
	wantWords(t, late, syscall.EADDRNOTAVAIL, "it is an address of card0 now", "retry=10s")
}

func TestDiagnoseTentativeAddress(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	ip := testcaddy.Program(t, "ip")
	runProgram(t, ip, "link", "add", "card0", "type", "veth", "peer", "name", "card1")
	runProgram(t, ip, "link", "set", "card0", "up") // without a carrier, as its peer is down
	runProgram(t, ip, "addr", "add", "2001:db8::7/64", "dev", "card0")
	wantWords(t, bindAndExplain(t, "tcp", "[2001:db8::7]:8080"), syscall.EADDRNOTAVAIL,
		"the address of card0 is still tentative", "duplicate address detection", "retry=10s", "freebind")
}

func TestDiagnoseIPv6SwitchedOff(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	setSysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
	wantWords(t, bindAndExplain(t, "tcp", "[::1]:8080"), syscall.EADDRNOTAVAIL,
		"IPv6 is switched off (net.ipv6.conf.all.disable_ipv6=1)", "use ipv4/")
	v6, err := Address{Network: IPv6}.resolve(context.Background(), 80)
	if d := (*Diagnosis)(nil); !errors.As(err, &d) {
		t.Errorf("ipv6/: %v, %v", v6, err)
	} else {
		wantWords(t, d, syscall.EAFNOSUPPORT, "net.ipv6.conf.all.disable_ipv6=1", "use ipv4/")
	}
}

// A unit with RestrictAddressFamilies=AF_INET gets the same from systemd.
func TestDiagnoseForbiddenFamily(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	refuseFamily(t, unix.AF_INET6)
	wantWords(t, bindAndExplain(t, "tcp", "[::1]:0"), syscall.EAFNOSUPPORT, "RestrictAddressFamilies=", "use ipv4/")
	if err := bindRaw(testTarget(t, "tcp", "127.0.0.1:0")); err != nil {
		t.Error(err)
	}
}

// Where netlink is forbidden, /proc still tells.
func TestHoldersWhereNetlinkIsForbidden(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	refuseFamily(t, unix.AF_NETLINK)
	port := listenOn(t, "tcp4", "127.0.0.1:0")
	wantHolders(t, testTarget(t, "tcp", "0.0.0.0:"+port), ownHolder(t, "127.0.0.1:"+port, familyIPv4))
}

func TestDiagnoseLinkLocalWithoutZone(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	ip := testcaddy.Program(t, "ip")
	addCards(t, ip)
	runProgram(t, ip, "addr", "add", "fe80::5/64", "dev", "card0", "nodad")
	wantWords(t, bindAndExplain(t, "tcp", "[fe80::5]:8080"), syscall.EINVAL, "needs its interface", "write fe80::5%card0")
	wantWords(t, bindAndExplain(t, "tcp", "[fe80::6]:8080"), syscall.EINVAL, "write fe80::6% and", "lo, card1, card0")
}

func TestDiagnoseMissingInterface(t *testing.T) {
	t.Parallel()
	newNetwork(t)
	addr := testTarget(t, "tcp", "[fe80::5%4711]:8080")
	wantWords(t, Diagnose(addr, bindRaw(addr)), syscall.ENODEV, "no interface has the number 4711", "(all interfaces: lo)")
	target := testTarget(t, "tcp", "0.0.0.0:8080")
	err := bindWith(target, 0, func(fd int) error {
		err := unix.BindToDevice(fd, "eth9")
		return &OptionError{Name: "device", Value: "eth9", Err: os.NewSyscallError("setsockopt", err)}
	})
	wantWords(t, Diagnose(target, err), syscall.ENODEV, "option device=eth9: no interface is named eth9 (all interfaces: lo)", "retry=10s")
	_, err = net.InterfaceByName("eth9")
	d := Diagnose(Target{Network: "tcp", Addr: netip.MustParseAddrPort("[fe80::5%eth9]:80")}, err)
	wantWords(t, d, syscall.ENODEV, "no interface is named eth9")
}

func TestDiagnoseOptionThatNeedsACapability(t *testing.T) {
	t.Parallel()
	becomeNobody(t)
	target := testTarget(t, "tcp", "127.0.0.1:0")
	for _, c := range []struct {
		name, value, capability string
		level, option, number   int
	}{
		{"mark", "1", "CAP_NET_ADMIN", unix.SOL_SOCKET, unix.SO_MARK, 1},
		{"transparent", "on", "CAP_NET_RAW or CAP_NET_ADMIN", unix.SOL_IP, unix.IP_TRANSPARENT, 1},
	} {
		err := bindWith(target, 0, func(fd int) error {
			err := unix.SetsockoptInt(fd, c.level, c.option, c.number)
			return &OptionError{Name: c.name, Value: c.value, Err: os.NewSyscallError("setsockopt", err)}
		})
		wantWords(t, Diagnose(target, err), syscall.EPERM, "option "+c.name, "needs the capability "+c.capability)
	}
}

func TestDiagnoseOptionOfMPTCP(t *testing.T) {
	t.Parallel()
	if sysctl("net/mptcp/enabled") != "1" {
		t.Skip("no MPTCP")
	}
	target := testTarget(t, "tcp", "127.0.0.1:0")
	err := bindWith(target, unix.IPPROTO_MPTCP, func(fd int) error {
		err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1000)
		return &OptionError{Name: "user_timeout", Value: "1s", Err: os.NewSyscallError("setsockopt", err)}
	})
	errno := syscall.EOPNOTSUPP // in later kernels ENOPROTOOPT
	if errors.Is(err, syscall.ENOPROTOOPT) {
		errno = syscall.ENOPROTOOPT
	}
	wantWords(t, Diagnose(target, err), errno, "user_timeout=1s", "MPTCP", "mptcp=off")
}
