package listeners

import "os"

// Handover is what a process leaves to the one that takes its place: its
// listening sockets. It travels as JSON, with the descriptors beside it in the
// order of [Handover.Files].
type Handover struct {
	Sockets []Bequest
	Lent    []LentSocket
	Ports   []BoundPort
}

// Bequest is a listening socket.
type Bequest struct {
	Target  Target
	Options Options // as they hold now
	MPTCP   bool
	Shares  bool // SO_REUSEPORT is set

	// The file of a Unix socket that has one.
	Device, Inode uint64
	Folders       []string // that were made for it

	File *os.File `json:"-"`
}

// LentSocket is a socket that systemd passed to the first process.
type LentSocket struct {
	Name string
	File *os.File `json:"-"`
}

// BoundPort tells which port an address got, if that is not the one that it
// asks for.
type BoundPort struct {
	Network, Host, Device string
	Port, Bound           uint16
}

// Files returns the descriptors, in the order in which they travel.
func (h *Handover) Files() []*os.File {
	var files []*os.File
	for _, s := range h.Sockets {
		files = append(files, s.File)
	}
	for _, l := range h.Lent {
		files = append(files, l.File)
	}
	return files
}

// SetFiles is the counterpart of Files. It is false if their number is wrong.
func (h *Handover) SetFiles(files []*os.File) bool {
	if len(files) != len(h.Sockets)+len(h.Lent) {
		return false
	}
	for i := range h.Sockets {
		h.Sockets[i].File = files[i]
	}
	for i := range h.Lent {
		h.Lent[i].File = files[len(h.Sockets)+i]
	}
	return true
}

// Close closes the descriptors.
func (h *Handover) Close() {
	for _, file := range h.Files() {
		_ = file.Close()
	}
}
