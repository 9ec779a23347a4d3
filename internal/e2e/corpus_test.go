package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy/testapps"
)

// TestGinAnswersTheSameInsideCaddy sends the same bytes to the same apps on
// net/http and in Caddy, and compares the bytes of the answers. Only the
// header fields Date and Server may differ.
func TestGinAnswersTheSameInsideCaddy(t *testing.T) {
	t.Parallel()
	plain, caddy := corpusServers(t)
	seen := make(map[string]bool)
	t.Run("cases", func(t *testing.T) {
		for _, c := range corpusCases() {
			name := c.name()
			if seen[name] {
				t.Fatalf("two cases are called %q", name)
			}
			seen[name] = true
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				want, got := c.exchange(t, plain), c.exchange(t, caddy)
				if want == "" && !c.silent {
					t.Errorf("plain Gin answers nothing")
				}
				if got != want {
					t.Errorf("in Caddy, %d bytes:\n%s\non net/http, %d bytes:\n%s", len(got), corpusShow(got), len(want), corpusShow(want))
				}
			})
		}
	})
	t.Logf("%d cases", len(seen))
}

// corpusServers serves the apps in this process and in Caddy, and returns the
// two addresses.
func corpusServers(t *testing.T) (plain, caddy string) {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(corpusUpstream))
	t.Cleanup(upstream.Close)
	corpus := testapps.Corpus{Files: corpusFiles(t), Upstream: upstream.URL}

	s := testcaddy.Start(t, testcaddy.Config{
		Env: []string{"CORPUS_FILES=" + corpus.Files, "CORPUS_UPSTREAM=" + corpus.Upstream},
		Sites: `
http://all.test:$HTTP {
	gin corpus-all
}
http://bare.test:$HTTP {
	gin corpus-bare
}
http://raw.test:$HTTP {
	gin corpus-raw
}`,
	})

	engines := map[string]*gin.Engine{
		"all.test": testapps.CorpusAll(corpus), "bare.test": testapps.CorpusBare(), "raw.test": testapps.CorpusRaw(corpus),
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		engine, ok := engines[r.Host]
		if !ok {
			t.Errorf("a case has the host %q", r.Host)
			return
		}
		engine.ServeHTTP(w, r)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	return ln.Addr().String(), fmt.Sprintf("127.0.0.1:%d", s.HTTPPort)
}

// corpusFiles returns a folder of files whose times are known.
func corpusFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"page.html":      "<p>a page of some length</p>\n",
		"large.bin":      strings.Repeat("0123456789abcdef", 20_000),
		"corpus.tmpl":    "<p>[[ .Name ]]</p>",
		"sub/index.html": "<p>an index</p>",
		"sub/a b.txt":    "a text",
		"other/file.txt": "a text in a folder without an index",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_700_000_000, 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// corpusUpstream is the server behind the app's reverse proxy.
func corpusUpstream(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/hints":
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
	case "/trailer":
		w.Header().Set("Trailer", "X-After")
		defer w.Header().Set("X-After", "all")
	case "/pieces":
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "piece %d ", i)
			w.(http.Flusher).Flush()
		}
		return
	case "/gone":
		w.WriteHeader(http.StatusGone)
	}
	_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL, r.Header.Get("X-Mine"), r.Header.Get("X-Forwarded-For"))
}
