package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// protocolFlat is by how much a server may grow over one upload: its buffers,
// and what the garbage collector leaves lying about. A body that is kept
// anywhere would take more.
const protocolFlat = 48 << 20

// protocolUploadSize returns the size of an upload. Under the race detector
// there is nothing to measure, and bytes are dear.
func protocolUploadSize() int64 {
	if protocolRace {
		return 4<<20 + 1
	}
	return 64<<20 + 1
}

// protocolNoise returns n bytes that nothing can compress, and the hash that
// is complete when they have been read.
func protocolNoise(n int64) (io.Reader, hash.Hash) {
	sum := sha256.New()
	noise := rand.NewChaCha8([32]byte{byte(n)})
	return io.TeeReader(io.LimitReader(noise, n), sum), sum
}

func protocolUpload(t *testing.T, p protocolSite) {
	if p.gzip {
		return // the same to the server
	}
	size := protocolUploadSize()
	noise, sum := protocolNoise(size)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	if _, err := w.CreateFormFile("file", "noise.bin"); err != nil {
		t.Fatal(err)
	}
	opening := form.Len()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), protocolPatience)
	defer cancel()
	body := io.MultiReader(bytes.NewReader(form.Bytes()[:opening]), noise, bytes.NewReader(form.Bytes()[opening:]))
	req := p.request(ctx, t, http.MethodPost, "/upload", body, "Content-Type", w.FormDataContentType())
	req.ContentLength = int64(form.Len()) + size

	grown := protocolWatchMemory(t, p.Server)
	resp, out := p.open(t, req)
	var got struct {
		Files []struct {
			Field, Name, SHA256 string
			Size                int64
		}
	}
	if err := json.NewDecoder(out).Decode(&got); err != nil {
		t.Fatalf("status %d: %v", resp.StatusCode, err)
	}
	want := fmt.Sprint([]any{"file", "noise.bin", hex.EncodeToString(sum.Sum(nil)), size})
	if len(got.Files) != 1 || fmt.Sprint([]any{got.Files[0].Field, got.Files[0].Name, got.Files[0].SHA256, got.Files[0].Size}) != want {
		t.Errorf("got %+v, want %s", got, want)
	}
	grown()
}

func protocolEcho(t *testing.T, p protocolSite) {
	if p.gzip {
		return // the answer is of a type that is not compressed
	}
	size := protocolUploadSize()
	noise, sent := protocolNoise(size)
	ctx, cancel := context.WithTimeout(t.Context(), protocolPatience)
	defer cancel()

	grown := protocolWatchMemory(t, p.Server)
	_, out := p.open(t, p.request(ctx, t, http.MethodPost, "/echo", noise)) // of unknown length
	received := sha256.New()
	n, err := io.Copy(received, out)
	if err != nil || n != size || !bytes.Equal(received.Sum(nil), sent.Sum(nil)) {
		t.Errorf("got %d bytes, %v; want %d", n, err, size)
	}
	grown()
}

// protocolWatchMemory starts watching the memory of a server. The function it
// returns fails the test if the server ever needed much more than now.
func protocolWatchMemory(t *testing.T, s *testcaddy.Server) func() {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", s.Pid)
	// makes the peak what is in use now
	if err := os.WriteFile(proc+"clear_refs", []byte("5"), 0); protocolRace || err != nil {
		return func() {} // not Linux
	}
	before := protocolMemory(t, proc+"status", "VmRSS")
	return func() {
		t.Helper()
		peak := protocolMemory(t, proc+"status", "VmHWM")
		t.Logf("memory: %d MiB before, %d MiB at the peak", before>>20, peak>>20)
		if peak-before > protocolFlat {
			t.Errorf("memory grew by %d MiB", (peak-before)>>20)
		}
	}
}

// protocolMemory reads a value of /proc/PID/status, in bytes.
func protocolMemory(t *testing.T, file, name string) int {
	t.Helper()
	status, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(name + `:\s*(\d+) kB`).FindSubmatch(status)
	if field == nil {
		t.Fatalf("no %s in %s", name, status)
	}
	kB, err := strconv.Atoi(string(field[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kB << 10
}
