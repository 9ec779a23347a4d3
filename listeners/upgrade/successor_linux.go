package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/seamless"
)

// variable tells a process that it is a successor, whose standard input is the
// channel. It is unset before anybody else may read it.
const variable = "CADDY_GIN_SUCCESSOR"

func isSuccessor() bool { return os.Getenv(variable) != "" }

// successor is this process as long as its predecessor lives.
type successor struct {
	channel *channel
	welcome welcomeBody
	config  []byte
	stderr  *os.File // that of the predecessor
	phase   atomic.Int32
	admin   atomic.Pointer[adminSocket] // nil unless it is a Unix socket of Caddy's own network

	signalled atomic.Bool // told to end by a signal
}

// The phases of a successor.
const (
	starting  int32 = iota // the predecessor serves
	probation              // this process serves, and the predecessor may again
	inCharge               // this process is the one
)

// begin has this process become a successor, before main runs. It does not
// return if that fails.
func begin() {
	_ = os.Unsetenv(variable)
	s := new(successor)
	if err := s.begin(); err != nil {
		fmt.Fprintf(os.Stderr, "taking over from the running process: %v\n", err)
		os.Exit(caddy.ExitCodeFailedStartup)
	}
}

func (s *successor) begin() error {
	predecessorPID, err := s.takeChannel()
	if err != nil {
		return err
	}
	_, version := caddy.Version()
	if err := s.channel.send(hello, helloBody{protocol, version}); err != nil {
		return err
	}
	handover, err := s.receiveWelcome()
	if err != nil {
		return err
	}
	if err := listeners.Inherit(handover); err != nil {
		return err
	}
	handover.Close()
	listeners.Pause()
	listeners.ShareWithPredecessor(true)
	seamless.SetMark(s.welcome.Mark)
	first, err := withoutAdmin(s.config)
	if err != nil {
		return err
	}
	file, err := memfd("configuration", first)
	if err != nil {
		return err
	}
	self.line = line{args: s.welcome.Args, file: s.welcome.File, adapter: s.welcome.Adapter, pidFile: s.welcome.PIDFile}
	os.Args = append(append([]string(nil), s.welcome.Args...), "--config", "/proc/self/fd/"+strconv.Itoa(int(file.Fd())))
	predecessor.Store(&Process{PID: predecessorPID, Role: "predecessor", Version: s.welcome.Version})
	loads.busy.Store(true)
	caddy.OnExit(s.exits)
	go s.watchSignals()
	go s.run(file)
	return nil
}

// takeChannel takes the channel from the standard input, where no descriptor
// is in the way of those that systemd passes, and puts /dev/null there. It returns
// the process at the other end.
func (s *successor) takeChannel() (pid int, err error) {
	kind, err := unix.GetsockoptInt(0, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_SEQPACKET {
		return 0, fmt.Errorf("the variable %s is for `caddy gin upgrade` only", variable)
	}
	peer, err := unix.GetsockoptUcred(0, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt SO_PEERCRED", err)
	}
	if pid = int(peer.Pid); !startedBy(pid) || int(peer.Uid) != os.Geteuid() {
		return 0, fmt.Errorf("process %d of user %d is not the one that started this", pid, peer.Uid)
	}
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 10)
	if err != nil {
		return 0, os.NewSyscallError("fcntl", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }()
	if err := unix.Dup3(int(null.Fd()), 0, 0); err != nil {
		return 0, os.NewSyscallError("dup3", err)
	}
	s.channel, err = newChannel(os.NewFile(uintptr(fd), "predecessor"))
	return pid, err
}

// receiveWelcome receives all that there is to begin with.
func (s *successor) receiveWelcome() (*listeners.Handover, error) {
	_ = s.channel.conn.SetReadDeadline(time.Now().Add(patience))
	defer func() { _ = s.channel.conn.SetReadDeadline(time.Time{}) }()
	m, files, err := s.channel.receive()
	if err != nil {
		return nil, err
	}
	if m.Kind != welcome || len(files) != 2 {
		return nil, fmt.Errorf("got message %q with %d descriptors instead of %q", m.Kind, len(files), welcome)
	}
	if err := json.Unmarshal(m.Body, &s.welcome); err != nil {
		return nil, err
	}
	s.config, err = readAll(files[0])
	_ = files[0].Close()
	s.stderr = files[1]
	if err != nil {
		return nil, err
	}
	var all []*os.File
	for len(all) < s.welcome.Files {
		m, files, err := s.channel.receive()
		if err != nil {
			return nil, err
		}
		if m.Kind != bequest {
			return nil, fmt.Errorf("got message %q instead of %q", m.Kind, bequest)
		}
		all = append(all, files...)
	}
	if !s.welcome.Handover.SetFiles(all) {
		return nil, fmt.Errorf("got %d descriptors for %d sockets", len(all), len(s.welcome.Handover.Sockets))
	}
	return &s.welcome.Handover, nil
}

// withoutAdmin returns a configuration without its admin endpoint, which the
// predecessor still has.
func withoutAdmin(config []byte) ([]byte, error) {
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(config, &parts); err != nil {
		return nil, fmt.Errorf("decoding the configuration: %w", err)
	}
	if parts == nil {
		parts = make(map[string]json.RawMessage)
	}
	parts["admin"] = json.RawMessage(`{"disabled":true,"config":{"persist":false}}`)
	return json.Marshal(parts)
}

// run does what the predecessor says.
func (s *successor) run(config *os.File) {
	messages := make(chan incoming)
	go s.receive(messages)
	for caddy.ActiveContext().Context == nil { // nothing announces it
		select {
		case in := <-messages:
			s.lost(in.err)
		case <-time.After(time.Millisecond):
		}
	}
	_ = config.Close()
	s.say(loaded, nil)
	for in := range messages {
		if in.err != nil && !errors.Is(in.err, errLost) {
			s.lost(in.err)
			return
		}
		s.handle(in)
	}
}

// incoming is what a receive returned.
type incoming struct {
	message
	files []*os.File
	err   error
}

func (s *successor) receive(to chan<- incoming) {
	for {
		m, files, err := s.channel.receive()
		if err != nil && !errors.Is(err, errLost) && s.phase.Load() == starting {
			s.admin.Load().discard()
			os.Exit(caddy.ExitCodeFailedStartup) // it was the predecessor that served, whatever this process is at
		}
		to <- incoming{m, files, err}
		if err != nil && !errors.Is(err, errLost) {
			return
		}
	}
}

// say tells the predecessor. If it is gone, receive sees it.
func (s *successor) say(k kind, body any) { _ = s.channel.send(k, body) }

// handle does what a message says.
func (s *successor) handle(in incoming) {
	switch in.Kind {
	case load:
		if err := s.load(in.Body); err != nil {
			s.say(failed, failedBody{err.Error()})
			os.Exit(caddy.ExitCodeFailedStartup) // nobody has been served
		}
		s.say(ready, readyBody{Taken: listeners.EndInheritance(), Plain: seamless.PlainKeys()})
	case commit:
		s.phase.Store(probation)
		listeners.Resume()
		s.say(serving, nil)
	case own:
		if err := ownPIDFile(); err != nil {
			s.say(failed, failedBody{err.Error()})
			return // the predecessor decides
		}
		s.say(owns, nil)
	case release:
		s.takeCharge()
		s.say(released, nil)
	case conn:
		s.takeConn(in)
	case working:
		p := *predecessor.Load()
		if json.Unmarshal(in.Body, &p.Working) == nil {
			predecessor.Store(&p)
		}
	default:
		closeAll(in.files)
	}
}

// load loads the whole configuration: that without the admin endpoint works.
func (s *successor) load(message json.RawMessage) error {
	var body loadBody
	if err := json.Unmarshal(message, &body); err != nil {
		return err
	}
	if body.AdminSocket != "" {
		s.admin.Store(openAdminSocket(body.AdminSocket))
	}
	loads.admit.Store(true)
	if err := caddy.Load(s.config, true); err != nil {
		s.admin.Load().discard()
		return err
	}
	if err := s.admin.Load().publish(); err != nil {
		return err
	}
	loads.strict.Store(true)
	if self.file == "" {
		return nil
	}
	caddy.SetLastConfig(self.file, self.adapter, func(file, adapter string) error {
		config, _, _, err := caddycmd.LoadConfig(file, adapter)
		if err != nil {
			return err
		}
		return caddy.Load(config, true)
	})
	return nil
}

// takeCharge makes this process the one that counts.
func (s *successor) takeCharge() {
	if s.phase.Swap(inCharge) == inCharge {
		return
	}
	_ = unix.Dup3(int(s.stderr.Fd()), 2, 0)
	_ = s.stderr.Close()
	listeners.Possess()
	loads.end()
}

// takeConn serves a connection that the predecessor leaves.
func (s *successor) takeConn(in incoming) {
	defer closeAll(in.files)
	var body connBody
	if json.Unmarshal(in.Body, &body) != nil {
		return
	}
	err := in.err
	if err == nil && len(in.files) != 1 {
		err = errLost
	}
	var c net.Conn
	if err == nil {
		c, err = net.FileConn(in.files[0])
	}
	if err == nil {
		if err = seamless.Give(body.Key, c); err != nil {
			_ = c.Close() // the predecessor has it still
		}
	}
	answer := tookBody{ID: body.ID}
	if err != nil {
		answer.Error = err.Error()
	}
	s.say(took, answer)
}

// lost is called when the predecessor has gone.
func (s *successor) lost(err error) {
	if err == nil {
		return
	}
	switch s.phase.Load() {
	case probation:
		if !s.signalled.Load() {
			if err := ownPIDFile(); err != nil {
				logger().Error("the process before this one has died", zap.Error(err))
			}
		}
		s.takeCharge()
		logger().Error("the process before this one has died; this one goes on", zap.Error(err))
	case inCharge:
		logger().Info("the process before this one has ended")
	}
	s.channel.close()
	predecessor.Store(nil)
	listeners.ShareWithPredecessor(false)
}

// watchSignals tells an end by a signal from one by the admin API.
func (s *successor) watchSignals() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	for sig := range signals {
		s.signalled.Store(true)
		if s.phase.Load() != inCharge { // the predecessor need not wait until this process has ended
			s.say(failed, failedBody{"told to end by the signal " + sig.String()})
		}
	}
}

// exits is called at the end of this process. If an operator has told it to stop
// while it is not yet in charge, that is meant for the predecessor too.
func (s *successor) exits(context.Context) {
	removePIDFile()
	s.admin.Load().remove()
	if s.phase.Load() != inCharge && !s.signalled.Load() {
		s.say(stop, nil)
	}
}

// logger is the package's, in the current configuration's log.
func logger() *zap.Logger { return caddy.Log().Named("gin.upgrade") }
