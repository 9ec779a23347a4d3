package e2e

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// A file above the limit goes to TMPDIR, and none is left there when the
// request has ended, whatever way it ends.
func TestMaxMultipartMemorySpillsToFilesThatAreRemoved(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	for options, spills := range map[string]bool{
		"":                                        false, // Gin's limit is 32 MiB
		"max_multipart_memory 16KiB":              true,
		"max_multipart_memory 0":                  true,
		"max_multipart_memory 64MiB":              false,
		"max_multipart_memory 1000000":            true,
		"max_multipart_memory 16KiB\ntimeout 4m":  true,
		"max_multipart_memory 16KiB\nbase_path /": true,
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			config := optSite("gin opt-upload {\n" + options + "\n}")
			tmp := t.TempDir()
			config.Env = []string{"TMPDIR=" + tmp}
			s := testcaddy.Start(t, config)
			for path, status := range map[string]int{
				"/upload": http.StatusOK, "/replaced": http.StatusOK,
				"/replaced-and-restored": http.StatusOK, "/panic": http.StatusOK,
			} {
				resp, err := optUpload(t, s, path, size)
				if path == "/panic" {
					// the answer has begun, so that the connection is broken off
					if err == nil {
						_ = resp.Body.Close()
					}
				} else {
					if err != nil {
						t.Fatal(err)
					}
					got := optRead(t, resp)
					var answer struct {
						Size     int
						Complete bool
						OnDisk   bool `json:"on_disk"`
						Spilled  int
					}
					if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status != status {
						t.Fatalf("%s: got %d %q", path, got.status, got.body)
					}
					if answer.Size != size || !answer.Complete || answer.OnDisk != spills || (answer.Spilled > 0) != spills {
						t.Errorf("%s: got %+v, want on disk: %t", path, answer, spills)
					}
				}
				// the files go when the handler has returned, which the client may see earlier
				testcaddy.Eventually(t, "no file is left after "+path, func() bool {
					left, err := filepath.Glob(filepath.Join(tmp, "*"))
					return err == nil && len(left) == 0
				})
			}
			if _, err := os.Stat(tmp); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func optUpload(t *testing.T, s *testcaddy.Server, path string, size int) (*http.Response, error) {
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "big.bin")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(make([]byte, size))
	if err := form.Close(); err != nil {
		t.Fatal(err)
	}
	return testcaddy.Client(t, "http").Post(s.HTTP(path), form.FormDataContentType(), &body)
}
