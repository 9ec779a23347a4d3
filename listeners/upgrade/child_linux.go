package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is the successor as its predecessor sees it.
type child struct {
	*channel
	cmd     *exec.Cmd
	words   *tail
	version string
	replies chan incoming // all messages but took and stop; closed when the channel ends
	exited  chan struct{} // closed when the process has been reaped
	stopped chan struct{} // closed when an operator told it to stop
	given   chan struct{} // closed when the upgrade was given up

	committed atomic.Bool   // it may have clients
	charged   atomic.Bool   // it may have been put in charge: its words go to the log by themselves
	grace     time.Duration // how long it may serve them when it is ended

	mu    sync.Mutex
	moves map[uint64]chan string // connections on their way, by ID
	next  uint64
}

// spawn starts a binary as successor.
func spawn(binary string, grace time.Duration) (*child, error) {
	ch, end, err := newPair()
	if err != nil {
		return nil, err
	}
	defer func() { _ = end.Close() }()
	c := &child{
		channel: ch,
		words:   &tail{to: os.Stderr},
		replies: make(chan incoming, 1),
		exited:  make(chan struct{}),
		stopped: make(chan struct{}),
		given:   make(chan struct{}),
		grace:   grace,
		moves:   make(map[uint64]chan string),
	}
	c.cmd = exec.Command(binary)
	c.cmd.Args = successorArgs()
	c.cmd.Env = append(append([]string(nil), start.env...), variable+"=1")
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = end, os.Stdout, c.words
	c.cmd.WaitDelay = time.Second // its own children may hold the pipe
	wait := c.cmd.Wait
	if managed() {
		wait = besideThis(c.cmd)
	}
	if err := c.cmd.Start(); err != nil {
		ch.close()
		return nil, err
	}
	go func() {
		_ = wait()
		close(c.exited)
	}()
	go c.listen()
	return c, nil
}

// pid returns the process ID.
func (c *child) pid() int { return c.cmd.Process.Pid }

// listen passes on what the successor says.
func (c *child) listen() {
	defer close(c.replies)
	for {
		m, files, err := c.receive()
		closeAll(files) // it has none to give
		if err != nil {
			return
		}
		switch m.Kind {
		case took:
			var body tookBody
			_ = json.Unmarshal(m.Body, &body)
			c.mu.Lock()
			answer := c.moves[body.ID]
			delete(c.moves, body.ID)
			c.mu.Unlock()
			if answer != nil {
				answer <- body.Error
			}
		case stop:
			close(c.stopped)
		default:
			select {
			case c.replies <- incoming{message: m}:
			case <-c.exited: // nobody may be waiting
			}
		}
	}
}

// await waits for a message. The error says what the successor did instead.
func (c *child) await(want kind, within time.Duration) (message, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case in, ok := <-c.replies:
		switch {
		case !ok:
			return message{}, c.ended()
		case in.Kind != want:
			return message{}, in.refusal(want)
		}
		return in.message, nil
	case <-timer.C:
		return message{}, fmt.Errorf("the new process did not say %q within %v%s", want, within.Round(time.Millisecond), c.lastWords())
	}
}

// refusal is the error for a message other than the expected one.
func (m message) refusal(want kind) error {
	if m.Kind != failed {
		return fmt.Errorf("the new process said %q instead of %q", m.Kind, want)
	}
	var body failedBody
	_ = json.Unmarshal(m.Body, &body)
	return fmt.Errorf("the new process says: %s", body.Error)
}

// errStopped is for a successor that was told to stop in its predecessor's
// place.
var errStopped = errors.New("told to stop over the admin API")

// ended says how the successor ended.
func (c *child) ended() error {
	select {
	case <-c.stopped:
		return errStopped
	default:
	}
	select {
	case <-c.exited:
		how := ""
		if c.cmd.ProcessState != nil { // only its parent learns
			how = fmt.Sprintf(" (%v)", c.cmd.ProcessState)
		}
		return fmt.Errorf("the new process has ended%s%s", how, c.lastWords())
	case <-time.After(patience):
		return fmt.Errorf("the new process has closed the channel%s", c.lastWords())
	}
}

// lastWords tells what the successor printed at last, as the end of a sentence.
func (c *child) lastWords() string {
	words := c.words.last()
	switch {
	case words != "":
		return "; its last words: " + words
	case c.charged.Load():
		return "; its last words are in the log"
	}
	return ", and printed no error"
}

// end ends the successor. If it may have clients, it gets some time for them. Safe
// for concurrent use.
func (c *child) end() {
	if c.committed.Load() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-c.exited:
		case <-time.After(c.grace):
		}
	}
	c.close()
	_ = c.cmd.Process.Kill()
	<-c.exited
}

// move sends a connection, and waits until the successor has it.
func (c *child) move(key string, fd syscall.Conn) error {
	raw, err := fd.SyscallConn()
	if err != nil {
		return err
	}
	var file *os.File
	var dup error
	if err := raw.Control(func(fd uintptr) { file, dup = duplicate(fd) }); err != nil {
		return err
	}
	if dup != nil {
		return dup
	}
	defer func() { _ = file.Close() }()
	answer := make(chan string, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.moves[id] = answer
	c.mu.Unlock()
	if err := c.send(conn, connBody{id, key}, file); err != nil {
		return err
	}
	select {
	case text := <-answer:
		if text != "" {
			return fmt.Errorf("the new process did not take the connection: %s", text)
		}
		return nil
	case <-c.exited:
		return errGone
	}
}

// duplicate duplicates a descriptor.
func duplicate(fd uintptr) (*os.File, error) {
	dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(dup), "connection"), nil
}

// tail passes a stream on and keeps the end of it.
type tail struct {
	to   io.Writer
	mu   sync.Mutex
	text []byte
}

// kept is how much of the successor's words is kept.
const kept = 16 << 10

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - kept; over > 0 {
		t.text = append([]byte(nil), t.text[over:]...)
	}
	return t.to.Write(p)
}

// last returns the last line that is not one of a log, or in one an error.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	last := ""
	for _, line := range lines {
		var entry struct{ Level, Msg, Error string }
		switch err := json.Unmarshal([]byte(line), &entry); {
		case err != nil:
			last = line
		case entry.Level == "error" || entry.Level == "fatal" || entry.Level == "panic":
			last = strings.TrimSuffix(entry.Msg+": "+entry.Error, ": ")
		}
	}
	return strings.TrimSpace(strings.TrimPrefix(last, "Error: "))
}
