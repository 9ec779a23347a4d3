package listeners

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The search for processes ends here, with what it has found: a diagnosis is
// not worth holding up a server on a machine with millions of descriptors.
const (
	searchTime  = 5 * time.Second
	searchFiles = 1 << 20 // per process
)

// heldBy finds the sockets that overlap t, and who has them.
func heldBy(t Target) []held {
	var sockets []kernelSocket
	switch t.Network {
	case "tcp", "udp":
		sockets = ipSockets(t)
	case "unix":
		sockets = unixSockets(t.Path)
	}
	if len(sockets) == 0 {
		return nil
	}
	wanted := make(map[uint64]bool, len(sockets))
	for _, s := range sockets {
		wanted[s.inode] = true
	}
	owners := findOwners(wanted)
	users := map[int]string{}
	var list []held
	for _, s := range sockets {
		o, found := owners[s.inode]
		if t.Network == "unix" {
			if !isAt(s.path, o.pid, t.Path) {
				continue
			}
			s.uid = -1
			if found {
				s.uid = o.uid
			}
		}
		name, ok := users[s.uid]
		if !ok {
			name = userName(s.uid)
			users[s.uid] = name
		}
		list = append(list, held{
			Holder: Holder{
				Address: s.address(), Family: s.family, Pid: o.pid, Process: o.name, UID: s.uid, User: name,
			},
			overlap: s.overlap, idle: s.idle,
		})
	}
	return ranked(list)
}

// holderProcess is a process that has a socket.
type holderProcess struct {
	pid  int
	name string
	uid  int
}

// findOwners looks through the descriptors of all processes, this one first and
// the others in the order of their pids, until it has found every inode.
// Processes come and go meanwhile; what cannot be read is left out.
func findOwners(wanted map[uint64]bool) map[uint64]holderProcess {
	owners := make(map[uint64]holderProcess, len(wanted))
	deadline := time.Now().Add(searchTime)
	for _, pid := range processes() {
		if len(owners) == len(wanted) || time.Now().After(deadline) {
			break
		}
		var o holderProcess
		for _, inode := range socketsOf(pid) {
			if !wanted[inode] {
				continue
			}
			if o.pid == 0 {
				o = describeProcess(pid)
			}
			if _, known := owners[inode]; !known {
				owners[inode] = o
			}
		}
	}
	return owners
}

// processes lists all pids, our own first.
func processes() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(-1) // what was read before an error is good
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	self := os.Getpid()
	slices.SortFunc(pids, func(a, b int) int {
		return cmp.Or(boolCompare(a != self, b != self), cmp.Compare(a, b))
	})
	return pids
}

// socketsOf lists the inodes of the sockets that a process has open.
func socketsOf(pid int) []uint64 {
	dir, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd")
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	names, _ := dir.Readdirnames(searchFiles) // ends early if the process does
	var inodes []uint64
	var link [64]byte
	for _, name := range names {
		n, err := unix.Readlinkat(int(dir.Fd()), name, link[:])
		if err != nil {
			continue
		}
		number, ok := bytes.CutPrefix(link[:n], []byte("socket:["))
		if !ok {
			continue
		}
		if inode, err := strconv.ParseUint(string(bytes.TrimSuffix(number, []byte("]"))), 10, 64); err == nil {
			inodes = append(inodes, inode)
		}
	}
	return inodes
}

// describeProcess returns the name and the effective user of a process.
func describeProcess(pid int) holderProcess {
	o := holderProcess{pid: pid, uid: -1}
	dir := "/proc/" + strconv.Itoa(pid)
	if name, err := os.ReadFile(dir + "/comm"); err == nil {
		o.name = strings.TrimSuffix(string(name), "\n")
	}
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return o
	}
	for line := range strings.Lines(string(status)) {
		ids := strings.Fields(line) // Uid: real effective saved filesystem
		if len(ids) > 2 && ids[0] == "Uid:" {
			if uid, err := strconv.Atoi(ids[2]); err == nil {
				o.uid = uid
			}
			break
		}
	}
	return o
}

// isAt tells whether a Unix socket that process pid bound as name (0 if the
// process is unknown) is the file at path. Names are as they were written: a
// relative one counts from the working directory of its process, an absolute
// one from its root.
func isAt(name string, pid int, path string) bool {
	if strings.HasPrefix(path, "@") {
		return name == path
	}
	if target, err := os.Lstat(path); err == nil && pid != 0 {
		base := "/proc/" + strconv.Itoa(pid)
		if filepath.IsAbs(name) {
			base += "/root"
		} else {
			base += "/cwd"
		}
		if file, err := os.Lstat(base + "/" + name); err == nil {
			return os.SameFile(file, target)
		}
	}
	full, err := filepath.Abs(path)
	return err == nil && filepath.IsAbs(name) && filepath.Clean(name) == full
}

// inspect returns the command that shows who holds t; with all also sockets
// that do not listen.
func inspect(t Target, all bool) string {
	port := "'sport = :" + strconv.Itoa(int(t.Addr.Port())) + "'"
	switch {
	case t.Network == "unix":
		return "`ss -lxp src " + shellQuote(t.Path) + "`"
	case t.Network == "udp":
		return "`ss -anup " + port + "`"
	case all:
		return "`ss -antp " + port + "`"
	}
	return "`ss -lntp " + port + "`"
}
