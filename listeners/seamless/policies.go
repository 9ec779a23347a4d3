package seamless

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// policiesOf returns what two configurations must have in common so that
// connections of one may carry requests to the other: a server's TLS
// connection policies as they stand in the configuration, and the contents of
// the files that say which client certificates are good. The policies must not
// have been provisioned: that takes parts away.
func policiesOf(server *caddyhttp.Server) (string, error) {
	text, err := json.Marshal(server.TLSConnPolicies)
	if err != nil {
		return "", fmt.Errorf("reading the TLS connection policies: %w", err)
	}
	var policies []struct {
		ClientAuthentication any `json:"client_authentication"`
	}
	if err := json.Unmarshal(text, &policies); err != nil {
		return "", fmt.Errorf("reading the TLS connection policies: %w", err)
	}
	digest := sha256.New()
	_, _ = digest.Write(text)
	for _, policy := range policies {
		addFiles(digest, "", policy.ClientAuthentication)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// addFiles adds the files to a digest whose names are somewhere in a part of a
// configuration. Which of its texts are names is known to the modules only, so
// those are that name a file which exists, or a folder in a list of folders.
func addFiles(digest hash.Hash, key string, part any) {
	switch part := part.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(part)) {
			addFiles(digest, key, part[key])
		}
	case []any:
		for _, value := range part {
			addFiles(digest, key, value)
		}
	case string:
		if key != "folders" {
			addFile(digest, part)
			return
		}
		_ = filepath.WalkDir(part, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				addFile(digest, path)
			}
			return nil
		})
	}
}

// addFile adds a file, if it is one. The module that needs it complains if it
// cannot be read.
func addFile(digest hash.Hash, path string) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return
	}
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	_, _ = io.WriteString(digest, path)
	_, _ = io.Copy(digest, file)
}
