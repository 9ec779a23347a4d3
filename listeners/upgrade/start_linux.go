package upgrade

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/pflag"
)

// start is how this process was started, read before anything may change it.
var start = struct {
	binary string // path of the running binary; "" if it is not known
	err    error  // why not
	args   []string
	env    []string
}{}

// line is what processes pass on from one to the next.
type line struct {
	args    []string // of the command line, without what concerns the first process only
	file    string   // that the configuration was read from
	adapter string
	pidFile string // "" for none
}

// self is the line as this process got it: from its predecessor, or from its
// command line. A successor sets it before main runs.
var self struct {
	line
	err error // why the process cannot have a successor
}

func init() {
	start.binary, start.err = ownBinary(os.Args[0])
	start.args = ownArgs(os.Args)
	start.env = os.Environ()
	if isSuccessor() {
		begin() // reads further what the process is to be
		return
	}
	self.line, self.err = parseArgs(start.args)
}

// ownBinary returns the path of the running binary: that by which it was called,
// so that a symbolic link leads to the next one, or else as the system has it.
func ownBinary(called string) (string, error) {
	binary, err := os.Executable()
	if err != nil {
		return "", err
	}
	path, err := exec.LookPath(called)
	if err == nil || errors.Is(err, exec.ErrDot) {
		path, err = filepath.Abs(path)
	}
	var target string
	if err == nil {
		target, err = filepath.EvalSymlinks(path)
	}
	if err == nil && target == binary {
		binary = path
	}
	return binary, nil // whatever the name was that it was called by
}

// parseArgs reads a command line of `caddy run`.
func parseArgs(args []string) (line, error) {
	var l line
	if len(args) < 2 || args[1] != "run" {
		return l, errors.New("only `caddy run` (and `caddy start`, which runs it) can be upgraded")
	}
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	flags.Usage = func() {}
	flags.StringVarP(&l.file, "config", "c", "", "")
	flags.StringVarP(&l.adapter, "adapter", "a", "", "")
	envFiles := flags.StringSlice("envfile", nil, "")
	environ := flags.BoolP("environ", "e", false, "")
	flags.BoolP("resume", "r", false, "")
	watch := flags.BoolP("watch", "w", false, "")
	flags.StringVar(&l.pidFile, "pidfile", "", "")
	flags.String("pingback", "", "")
	if err := flags.Parse(args[2:]); err != nil {
		return l, fmt.Errorf("the command line of this process is not one that an upgrade understands: %w", err)
	}
	if *watch {
		return l, errors.New("the flag --watch cannot be passed on: start caddy without it, and reload by `caddy reload`")
	}
	if _, err := os.Stat("Caddyfile"); l.file == "" && err == nil {
		l.file = "Caddyfile" // as Caddy does
	}
	l.args = []string{args[0], "run"}
	for _, file := range *envFiles {
		l.args = append(l.args, "--envfile", file)
	}
	if *environ {
		l.args = append(l.args, "--environ")
	}
	return l, nil
}

// checkManager refuses where the service manager would take the end of this
// process for that of the service.
func checkManager() error {
	if os.Getenv("INVOCATION_ID") != "" && os.Getppid() == 1 && os.Getenv("NOTIFY_SOCKET") == "" {
		return errors.New("systemd started this process without a notify socket, so that it cannot learn of another main process: the unit needs Type=notify (and NotifyAccess=main)")
	}
	return nil
}

// notifyMain tells the service manager, if there is one, which process is the main
// one now.
func notifyMain(pid int) error {
	_, err := daemon.SdNotify(false, "MAINPID="+strconv.Itoa(pid)+"\n"+daemon.SdNotifyReady)
	return err
}
