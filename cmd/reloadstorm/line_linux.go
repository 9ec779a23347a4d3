package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func needsLinux() string { return "" }

// adoptOrphans makes processes whose parents have ended children of this one.
func adoptOrphans() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// processes returns the processes that live in the site's folder.
func (s *site) processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if dir, err := os.Readlink("/proc/" + entry.Name() + "/cwd"); err == nil && dir == s.Dir {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
