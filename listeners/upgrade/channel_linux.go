package upgrade

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxMessage is how long a message may be. The names of 10,000 sockets fit.
	maxMessage = 8 << 20

	// maxFiles is how many descriptors a message takes (SCM_MAX_FD in the kernel).
	maxFiles = 253
)

// channel connects predecessor and successor. A message is a packet, so that
// its descriptors belong to it; one that is longer than a packet may be travels
// in a file of its own. send may be called by several goroutines.
type channel struct {
	conn *net.UnixConn
	mu   sync.Mutex // one message at a time
}

// packet is what is really sent: a message, or that it is in the first
// descriptor.
const inline = 32 << 10

// newPair returns a channel and the descriptor of its other end.
func newPair() (*channel, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	other := os.NewFile(uintptr(fds[1]), "successor")
	c, err := newChannel(os.NewFile(uintptr(fds[0]), "predecessor"))
	if err != nil {
		_ = other.Close()
		return nil, nil, err
	}
	return c, other, nil
}

// newChannel takes over an end of a pair.
func newChannel(end *os.File) (*channel, error) {
	defer func() { _ = end.Close() }()
	conn, err := net.FileConn(end)
	if err != nil {
		return nil, err
	}
	packets, ok := conn.(*net.UnixConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("not a Unix socket")
	}
	return &channel{conn: packets}, nil
}

// close ends the channel. The other side sees it when it receives.
func (c *channel) close() { _ = c.conn.Close() }

// send sends a message with descriptors, which stay open here.
func (c *channel) send(k kind, body any, files ...*os.File) error {
	m := message{Kind: k}
	var err error
	if body != nil {
		if m.Body, err = json.Marshal(body); err != nil {
			return err
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(text) > inline {
		long, err := memfd("message", text)
		if err != nil {
			return err
		}
		defer func() { _ = long.Close() }()
		files = append([]*os.File{long}, files...)
		text = nil
	}
	return c.write(text, files)
}

// write sends a packet. Its first byte says whether the text is in the first
// descriptor; a packet cannot be empty anyway.
func (c *channel) write(text []byte, files []*os.File) error {
	fds := make([]int, len(files))
	for i, file := range files {
		raw, err := file.SyscallConn()
		if err != nil {
			return err
		}
		// not Fd, which makes the descriptor blocking, and that of the other side with it
		if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
			return err
		}
	}
	prefix := []byte{'t'}
	if text == nil {
		prefix[0] = 'f'
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _, err := c.conn.WriteMsgUnix(append(prefix, text...), rights, nil)
	return err
}

// patience is how long the other side may be busy before it takes a message
// or answers one for which it needs a moment only.
const patience = 10 * time.Second

// errLost is for descriptors that did not fit in.
var errLost = errors.New("descriptors were lost on the way: the limit of open files is reached")

// receive waits for a message. The error is io.EOF when the other side has
// gone, and errLost, together with the message, if its descriptors are missing.
// Only one goroutine may call it.
func (c *channel) receive() (message, []*os.File, error) {
	var m message
	text := make([]byte, inline+1)
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, flags, _, err := c.conn.ReadMsgUnix(text, oob)
	if err != nil {
		return m, nil, err
	}
	files, err := received(oob[:oobn])
	if err != nil {
		return m, nil, err
	}
	lost := flags&unix.MSG_CTRUNC != 0
	if n == 0 {
		return m, nil, errGone
	}
	body := text[1:n]
	if text[0] == 'f' {
		if len(files) == 0 {
			return m, nil, errLost
		}
		body, err = readAll(files[0])
		_ = files[0].Close()
		files = files[1:]
		if err != nil {
			return m, files, err
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, files, fmt.Errorf("what came is not a message: %w", err)
	}
	if lost {
		closeAll(files)
		return m, nil, errLost
	}
	return m, files, nil
}

// errGone is for the end of the other side.
var errGone = errors.New("the other process has gone")

// received returns the descriptors of a packet; Go has set FD_CLOEXEC on them.
func received(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

// memfd returns a file in memory that is read from its beginning.
func memfd(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("caddy-gin "+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.Write(content); err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// readAll reads a file from its beginning, wherever it was written to.
func readAll(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > maxMessage && file.Name() == "message" {
		return nil, fmt.Errorf("a message of %d bytes", info.Size())
	}
	content := make([]byte, info.Size())
	_, err = file.ReadAt(content, 0)
	return content, err
}
