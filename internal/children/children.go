// Package children starts the servers that the commands of this module compare,
// and looks for races in what they print.
package children

import (
	"net"
	"os/exec"
	"path/filepath"
)

// FreePorts returns n addresses of 127.0.0.1 that nobody listened on a moment
// ago.
func FreePorts(n int) ([]string, error) {
	var addresses []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // not before all are chosen
		addresses = append(addresses, ln.Addr().String())
	}
	return addresses, nil
}

// Program returns the path of a program, or "" if it is not installed. Servers
// lie where a user's PATH may not lead.
func Program(name string) string {
	for _, file := range []string{name, filepath.Join("/usr/sbin", name), filepath.Join("/usr/local/sbin", name)} {
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	return ""
}
