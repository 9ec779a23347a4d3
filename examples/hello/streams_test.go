package hello

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEcho(t *testing.T) {
	url := serve(t, nil)
	body, in := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/echo", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-test")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if got := res.Header.Get("Content-Type"); got != "application/x-test" {
		t.Errorf("content type is %q", got)
	}
	out := bufio.NewReader(res.Body)
	for i := range 3 { // in lockstep: nothing is sent before the last line has come back
		line := fmt.Sprintf("line %d\n", i)
		if _, err := io.WriteString(in, line); err != nil {
			t.Fatal(err)
		}
		got, err := out.ReadString('\n')
		if err != nil || got != line {
			t.Fatalf("got %q, %v; want %q", got, err, line)
		}
	}
	_ = in.Close()
	if rest, err := io.ReadAll(out); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v at the end", rest, err)
	}
}

func TestEchoAfterContinue(t *testing.T) {
	url := serve(t, nil)
	sent := strings.Repeat("expected ", 100_000)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/echo", strings.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second, DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != sent {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(sent))
	}
}

func TestEvents(t *testing.T) {
	url := serve(t, func(cfg *Config) { cfg.Interval = 5 * time.Millisecond })
	for query, want := range map[string]int{"": 10, "?n=1&interval=1h": 1, "?n=3&interval=1ms": 3} {
		_, header, body := get(t, url+"/events"+query)
		if got := strings.Count(body, "event:tick\n"); got != want {
			t.Errorf("/events%s has %d events, want %d", query, got, want)
		}
		if got := header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
			t.Errorf("content type is %q", got)
		}
	}
}

func TestBytes(t *testing.T) {
	url := serve(t, nil)
	for _, n := range []int{0, 1, 1024, 251 * 256, 251*256*2 + 7} {
		_, header, body := get(t, fmt.Sprintf("%s/bytes?n=%d", url, n))
		if len(body) != n || header.Get("Content-Length") != fmt.Sprint(n) {
			t.Errorf("got %d bytes with length %s, want %d", len(body), header.Get("Content-Length"), n)
		}
		for i := range len(body) {
			if body[i] != byte(i%251) {
				t.Fatalf("byte %d of %d is %d", i, n, body[i])
			}
		}
	}
}

func TestAbort(t *testing.T) {
	url := serve(t, nil)
	res, err := http.Get(url + "/abort")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); err == nil || len(body) == 0 {
		t.Errorf("got %d bytes and %v, want a part and an error", len(body), err)
	}
}

func TestUpload(t *testing.T) {
	big := bytes.Repeat([]byte("big"), 100_000)
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	_ = w.WriteField("note", "not a file")
	part, err := w.CreateFormFile("file", "big.bin")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(big)
	_ = w.Close()

	for limit, want := range map[int64]int{0: 200, int64(form.Len()): 200, 1000: 413} {
		for _, chunked := range []bool{false, true} {
			url := serve(t, func(cfg *Config) { cfg.Limits.MaxUpload = limit })
			var body io.Reader = bytes.NewReader(form.Bytes())
			if chunked {
				body = io.MultiReader(body) // hides the length
			}
			res, err := http.Post(url+"/upload", w.FormDataContentType(), body)
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ Files []file }
			if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
				t.Error(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("limit %d: got status %d, want %d", limit, res.StatusCode, want)
			}
			if want != 200 {
				continue
			}
			sum := sha256.Sum256(big)
			wanted := file{"file", "big.bin", int64(len(big)), hex.EncodeToString(sum[:])}
			if len(got.Files) != 1 || got.Files[0] != wanted {
				t.Errorf("got %+v, want %+v", got.Files, wanted)
			}
		}
	}

	res, err := http.Post(serve(t, nil)+"/upload", "text/plain", strings.NewReader("no form"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("got status %d for no form", res.StatusCode)
	}
}
