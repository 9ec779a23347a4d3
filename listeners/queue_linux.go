package listeners

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Parts of linux/unix_diag.h.
const (
	unixDiagQueue     = 4    // UNIX_DIAG_RQLEN
	unixDiagShowQueue = 0x10 // UDIAG_SHOW_RQLEN
	unixDiagFlags     = 6    // where the flags stand in a request
)

// unixQueue returns how many connections wait to be accepted from a Unix
// socket, and how many may.
func unixQueue(fd int) (depth, limit int, err error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, 0, err
	}
	// about this socket only; the acknowledgement tells where the answer ends
	request := diagHeader(unixDiagRequestSize)
	binary.NativeEndian.PutUint16(request[unixDiagFlags:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	request = append(request, unix.AF_UNIX, 0, 0, 0)
	request = binary.NativeEndian.AppendUint32(request, 0) // the state is known
	request = binary.NativeEndian.AppendUint32(request, uint32(stat.Ino))
	request = binary.NativeEndian.AppendUint32(request, unixDiagShowQueue)
	request = binary.NativeEndian.AppendUint64(request, ^uint64(0)) // no cookie
	err = unix.EOPNOTSUPP
	if failed := diagDump("unix", request, func(data []byte) {
		if len(data) < unixDiagAnswerSize {
			return
		}
		if queue := diagAttribute(data[unixDiagAnswerSize:], unixDiagQueue); len(queue) >= 8 {
			depth, limit, err = int(binary.NativeEndian.Uint32(queue)), int(binary.NativeEndian.Uint32(queue[4:])), nil
		}
	}); failed != nil {
		return 0, 0, failed
	}
	return depth, limit, err
}
