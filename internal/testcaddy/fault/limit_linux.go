package fault

import (
	"strconv"
	"syscall"
)

// limitDescriptors sets how many descriptors the process may have.
func limitDescriptors(text string) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		panic(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		panic(err)
	}
}
