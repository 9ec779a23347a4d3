package listeners

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// foldersOf returns the folders above a path, the outermost first.
func foldersOf(path string) []string {
	full, err := filepath.Abs(path)
	if err != nil {
		full = path
	}
	var folders []string
	for dir := filepath.Dir(full); ; dir = filepath.Dir(dir) {
		folders = append(folders, dir)
		if dir == filepath.Dir(dir) {
			break
		}
	}
	slices.Reverse(folders)
	return folders
}

// nearestFolder returns the innermost folder above a path that exists.
func nearestFolder(path string) string {
	folders := foldersOf(path)
	for _, folder := range slices.Backward(folders) {
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			return folder
		}
	}
	return folders[0]
}

// noFolder explains ENOENT and ENOTDIR: the first part of the path that is not
// a folder.
func (d *Diagnosis) noFolder() {
	for _, folder := range foldersOf(d.Target.Path) {
		info, err := os.Stat(folder)
		switch {
		case err == nil && info.IsDir():
			continue
		case err == nil:
			d.Reason = folder + " is " + kindOfFile(info.Mode()) + ", not a directory"
			d.Remedy = "use another path"
		case os.IsNotExist(err):
			if link, err := os.Readlink(folder); err == nil {
				d.Reason = folder + " is a symbolic link to " + link + ", which does not exist"
				d.Remedy = "create that directory, or use another path"
				return
			}
			d.Reason = "directory " + folder + " does not exist"
			d.Remedy = "create it, or let mkdir=0750 create what is missing"
		}
		return
	}
}

// pathDenied explains EACCES for a path.
func (d *Diagnosis) pathDenied() {
	path := d.Target.Path
	if folder, right := deniedFolder(path); folder != "" {
		d.Reason = "directory " + folder + describeOwner(folder) + " may not be " + right + " by this process (" + describeUser(os.Geteuid()) + ")"
		d.Remedy = "change its owner or mode, or use a directory that systemd makes for the service (RuntimeDirectory=)"
		return
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		var who string
		if found := heldBy(d.Target); len(found) > 0 {
			for _, h := range found {
				d.Holders = append(d.Holders, h.Holder)
			}
			who = ", in use by " + describeHeld(found)
		}
		d.Reason = "a socket is there that this process (" + describeUser(os.Geteuid()) + ") may not connect to, to see whether it is served" + who
		d.Remedy = "stop its server or use another path"
		return
	}
	d.Reason = "a security policy forbids the path: SELinux, AppArmor, or a filter of the service or container"
	d.Remedy = "look into the audit log (`ausearch -m avc -ts recent`, `dmesg`), or use another path"
}

// pathTooLong explains EINVAL for a path.
func (d *Diagnosis) pathTooLong() {
	if most := longestSocketPath(); len(d.Target.Path) > most {
		d.Reason = "the path has " + strconv.Itoa(len(d.Target.Path)) + " bytes" + ", and the path of a socket at most " + strconv.Itoa(most)
		d.Remedy = "use a shorter one, such as /run/app.sock"
		return
	}
	if strings.ContainsRune(d.Target.Path, 0) {
		d.Reason = "the path contains a zero byte"
	}
}
