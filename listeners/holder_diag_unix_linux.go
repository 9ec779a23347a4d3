package listeners

import (
	"encoding/binary"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Parts of linux/unix_diag.h.
const (
	unixDiagRequestSize = 24 // struct unix_diag_req
	unixDiagAnswerSize  = 16 // struct unix_diag_msg
	unixDiagFile        = 1  // UNIX_DIAG_VFS
	unixDiagShowFile    = 2  // UDIAG_SHOW_VFS
)

// atFile leaves out the sockets whose file is another one than that at the
// path: somebody removed it, and they have only the name in common. If the
// kernel does not tell, all stay.
func atFile(path string, list []kernelSocket) []kernelSocket {
	if len(list) < 2 {
		return list
	}
	info, err := os.Lstat(path)
	if err != nil {
		return list
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return list
	}
	files := unixFiles()
	return slices.DeleteFunc(list, func(s kernelSocket) bool {
		file, known := files[uint32(s.inode)]
		return known && file != uint32(stat.Ino)
	})
}

// unixFiles returns the inodes of the files of Unix sockets by those of the
// sockets, as the kernel tells them: in 32 bits.
func unixFiles() map[uint32]uint32 {
	request := diagHeader(unixDiagRequestSize)
	request = append(request, unix.AF_UNIX, 0, 0, 0)
	request = binary.NativeEndian.AppendUint32(request, ^uint32(0)) // in all states
	request = binary.NativeEndian.AppendUint32(request, 0)
	request = binary.NativeEndian.AppendUint32(request, unixDiagShowFile)
	files := make(map[uint32]uint32)
	_ = diagDump("unix", request[:cap(request)], func(data []byte) {
		if len(data) < unixDiagAnswerSize {
			return
		}
		if file := diagAttribute(data[unixDiagAnswerSize:], unixDiagFile); len(file) >= 4 {
			files[binary.NativeEndian.Uint32(data[4:])] = binary.NativeEndian.Uint32(file)
		}
	})
	return files
}
