package upgrade

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

const (
	units  = "../../../examples/deploy/systemd"
	dropIn = "caddy.service.d/upgrade-on-reload.conf"
)

// unit returns the text of a file of units, with a Caddyfile beside the binary.
func unit(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(units, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "/etc/caddy/", "/opt/caddy/")
}

// The units are what systemd understands, with and without the drop-in.
func TestSystemdUnitsAreValid(t *testing.T) {
	t.Parallel()
	analyze := testcaddy.Program(t, "systemd-analyze")
	binary := testcaddy.Binary(t)
	for _, names := range [][]string{{"caddy.service", "caddy-upgrade.service"}, {"caddy.service", dropIn}} {
		dir := t.TempDir()
		for _, name := range names {
			text := strings.ReplaceAll(unit(t, name), "/opt/caddy/caddy ", binary+" ") // it has to be there
			file := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(analyze, "verify", filepath.Join(dir, names[0]))
		if filepath.Ext(names[1]) == ".service" {
			cmd.Args = append(cmd.Args, filepath.Join(dir, names[1]))
		}
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), dir) {
			t.Errorf("%v: %v\n%s", names, err, out)
		}
	}
}

// manager is the socket on which a service manager gets notifications.
type manager struct {
	conn *net.UnixConn
	mu   sync.Mutex
	got  []notification
}

type notification struct {
	pid  int
	text string
}

// newManager listens at a path, until the end of the test.
func newManager(t testing.TB, path string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) }); err != nil {
		t.Fatal(err)
	}
	m := &manager{conn: conn}
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		m.receive(t)
	}()
	return m
}

func (m *manager) receive(t testing.TB) {
	text, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, oobn, _, _, err := m.conn.ReadMsgUnix(text, oob)
		if err != nil {
			return
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) != 1 {
			t.Errorf("a notification without credentials: %v", err)
			continue
		}
		sender, err := unix.ParseUnixCredentials(&messages[0])
		if err != nil {
			t.Error(err)
			continue
		}
		m.mu.Lock()
		m.got = append(m.got, notification{int(sender.Pid), string(text[:n])})
		m.mu.Unlock()
	}
}

// heard returns what a manager heeds with NotifyAccess=main, if the main process is
// first at first: all lines of the main process.
func (m *manager) heard(first int) (lines []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	pid := first
	for _, n := range m.got {
		if n.pid != pid {
			continue
		}
		for line := range strings.Lines(n.text) {
			line = strings.TrimSpace(line)
			lines = append(lines, line)
			_, _ = fmt.Sscanf(line, "MAINPID=%d", &pid)
		}
	}
	return lines
}

// What the main process tells a service manager is that it is ready, and then who
// succeeds it, and no more: nothing of loads in the successor, or of its own end.
func TestUpgradeNotifiesTheServiceManager(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "cgn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "notify.sock")
	m := newManager(t, socket)
	s := start(t, config{env: []string{"NOTIFY_SOCKET=" + socket}})
	first := s.cmd.Process.Pid
	want := []string{"RELOADING=1", "READY=1"} // Caddy says both
	s.eventually("it is ready", func() bool { return slices.Equal(m.heard(first), want) })
	s.deploy(fault.ErrorInBuild)
	if _, stderr, code := s.upgrade(); code != 3 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	s.deploy("")
	if _, stderr, code := s.upgrade("--dry-run"); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for range 2 {
		want = append(want, fmt.Sprintf("MAINPID=%d", s.mustUpgrade().Result.NewPID), "READY=1")
		s.onlyProcess()
		testcaddy.Eventually(t, fmt.Sprintf("the manager hears %q", want), func() bool { return slices.Equal(m.heard(first), want) })
	}
	last := s.onlyProcess()
	if err := syscall.Kill(last, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	want = append(want, "STOPPING=1")
	s.eventually("it says that it stops", func() bool { return slices.Equal(m.heard(first), want) })
}

// systemd is a real one that is process 1 of namespaces of its own.
type systemd struct {
	t   testing.TB
	cmd *exec.Cmd
}

// startSystemd starts a systemd that knows the units of a folder only, and starts
// the unit of a name. For the processes, the folder of a service is /opt/caddy.
func startSystemd(t testing.TB, folder, opt, unit string) *systemd {
	t.Helper()
	testcaddy.NeedRoot(t)
	program := testcaddy.Program(t, "systemctl")
	enter := testcaddy.Program(t, "nsenter")
	if _, err := os.Stat("/lib/systemd/systemd"); err != nil {
		t.Skip(err)
	}
	targets := []string{"sysinit", "basic", "shutdown", "network-online"}
	for _, name := range targets {
		writeUnit(t, folder, name+".target", "[Unit]\nDescription="+name+"\nDefaultDependencies=no\n")
	}
	writeUnit(t, folder, "default.target", "[Unit]\nDescription=all\nWants="+unit+"\n")
	script := `set -e
mount --make-rprivate /
mount -t proc proc /proc
for dir in /run /var/lib /opt; do mount -t tmpfs none $dir; done
mkdir -p /run/lock /opt/caddy "/run/units/$1"
mount --bind "$1" /opt/caddy
mount --bind "$0" /run/units
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 77
export container=test SYSTEMD_UNIT_PATH=/run/units SYSTEMD_LOG_TARGET=console
exec /lib/systemd/systemd --system --show-status=0`
	log, err := os.Create(filepath.Join(opt, "systemd.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("sh", "-c", script, folder, opt)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // and with it all processes of the namespace
		<-exited
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("systemd:\n%s", text)
		}
	})
	sd := &systemd{t, exec.Command(enter, "-t", fmt.Sprint(cmd.Process.Pid), "-m", "-p", "-C", program, "--no-pager")}
	testcaddy.Eventually(t, "systemd has started the units", func() bool {
		select {
		case <-exited:
			if cmd.ProcessState.ExitCode() == 77 {
				t.Skip("cgroup2 cannot be mounted here")
			}
			t.Fatalf("systemd ended: %v", cmd.ProcessState)
		default:
		}
		_, err := sd.ctl("is-active", "default.target")
		return err == nil
	})
	return sd
}

func writeUnit(t testing.TB, folder, name, text string) {
	t.Helper()
	file := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // systemd is not strict, but others read it
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil { //nolint:gosec // the same
		t.Fatal(err)
	}
}

// ctl runs systemctl.
func (sd *systemd) ctl(args ...string) (string, error) {
	cmd := exec.Command(sd.cmd.Path, append(slices.Clone(sd.cmd.Args[1:]), args...)...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (sd *systemd) must(args ...string) string {
	sd.t.Helper()
	out, err := sd.ctl(args...)
	if err != nil {
		sd.t.Fatalf("systemctl %q: %v: %s", args, err, out)
	}
	return out
}

// main returns the main process of the service, which must be active.
func (sd *systemd) main() string {
	sd.t.Helper()
	got := sd.must("show", "caddy.service", "-p", "ActiveState,SubState,NRestarts,MainPID")
	pid := ""
	for line := range strings.Lines(got) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		want := map[string]string{"ActiveState": "active", "SubState": "running", "NRestarts": "0"}[name]
		if name == "MainPID" {
			pid = value
		} else if value != want {
			sd.t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	return pid
}

// The units of the examples do what they say, unprivileged and with systemd itself.
func TestUpgradeUnderSystemd(t *testing.T) {
	t.Parallel()
	testcaddy.NeedRoot(t)
	dir, err := os.MkdirTemp("", "cgs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the service's user runs the binary
		t.Fatal(err)
	}
	s := &service{t: t, dir: dir, binary: filepath.Join(dir, "caddy"), port: testcaddy.FreePort(t)}
	deploy := func(fault string) string {
		version := s.deploy(fault)
		for _, file := range []string{"caddy.version", "caddy.fault"} {
			if err := os.Chmod(filepath.Join(dir, file), 0o644); err != nil { //nolint:gosec // see above
				t.Fatal(err)
			}
		}
		return version
	}
	before := deploy("")
	writeUnit(t, dir, "Caddyfile", fmt.Sprintf("{\n\tadmin unix//run/caddy/admin.sock\n\tservers {\n\t\tlistener_wrappers {\n\t\t\tseamless\n\t\t}\n\t}\n"+
		"\tgin {\n\t\tupgrade {\n\t\t\tprobation 300ms\n\t\t}\n\t}\n}\n\nhttp://localhost:%d {\n\tbind ipv4/127.0.0.1\n\tgin upgrade-main\n}\n", s.port))
	folder := t.TempDir()
	unprivileged := strings.NewReplacer("User=caddy", "User=nobody", "Group=caddy", "Group=nogroup")
	for _, name := range []string{"caddy.service", "caddy-upgrade.service"} {
		writeUnit(t, folder, name, unprivileged.Replace(unit(t, name)))
	}
	sd := startSystemd(t, folder, dir, "caddy.service")
	client := testcaddy.Client(t, "http")
	wants := func(version string) string {
		t.Helper()
		now, err := s.ask(client, s.url())
		pid := sd.main()
		if err != nil || now.Version != version || fmt.Sprint(now.PID) != pid {
			t.Errorf("got %+v and %v, want version %s of process %s", now, err, version, pid)
		}
		return pid
	}
	first := wants(before)

	version := deploy("")
	sd.must("start", "caddy-upgrade")
	second := wants(version)

	deploy(fault.ErrorInBuild)
	if out, err := sd.ctl("start", "caddy-upgrade"); err == nil {
		t.Errorf("the failed upgrade succeeded: %s", out)
	}
	if got := sd.must("show", "caddy-upgrade.service", "-p", "ExecMainStatus", "--value"); got != "3" {
		t.Errorf("it ended with the exit code %s, want 3", got)
	}
	if now := wants(version); now != second {
		t.Errorf("process %s serves, want %s", now, second)
	}

	sd.must("reload", "caddy") // without the drop-in, of the configuration only
	if now := wants(version); now != second {
		t.Errorf("process %s serves, want %s", now, second)
	}
	writeUnit(t, folder, dropIn, unit(t, dropIn))
	sd.must("daemon-reload")
	version = deploy("")
	sd.must("reload", "caddy")
	if third := wants(version); third == first || third == second {
		t.Errorf("process %s serves after %s and %s", third, first, second)
	}
	// systemd waits for the process that has taken over, and so for its requests
	resp, err := client.Get(s.url() + "/slow?d=1s&flush=1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	sd.must("stop", "caddy")
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the request that was running at the stop: %v", err)
	}
	if got := sd.must("show", "caddy.service", "-p", "Result,ActiveState", "--value"); got != "success\ninactive" {
		t.Errorf("after the stop it is %q (%s)", got, sd.must("show", "caddy.service", "-p", "ExecMainCode,ExecMainStatus,ExecMainPID"))
	}
	if again, err := http.Get(s.url()); err == nil {
		_ = again.Body.Close()
		t.Error("somebody still answers")
	}
}
