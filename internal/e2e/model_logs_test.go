package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// TestModelLogsAreOneTree has the log of the sockets and of the wrapper go to
// a file, by the name gin, at start and at a reload.
func TestModelLogsAreOneTree(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the wrapper has nothing to say there")
	}
	const global = "log default {\nexclude gin\n}\nlog gin {\ninclude gin\noutput file $DIR/gin.log\n}\n"
	stock := fmt.Sprintf("http://localhost:%d", testcaddy.FreePort(t))
	config := seamConfig("", seamSite(seamHTTP, "ipv4/127.0.0.1", "a"), seamSite(stock, "127.0.0.1", "a"))
	config.Global += global
	s := testcaddy.Start(t, config)
	other := seamConfig("", seamSite(seamHTTP, "unixsock/$DIR/s", "b"), seamSite(stock, "tcp4/127.0.0.1", "b"))
	other.Global += global
	seamReload(t, s, other)
	listening, warned := 0, 0
	text, err := os.ReadFile(filepath.Join(s.Dir, "gin.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e struct{ Logger, Msg string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || !strings.HasPrefix(e.Logger, "gin.") && e.Logger != "gin" {
			t.Errorf("%v: %s", err, line)
		}
		switch {
		case e.Logger == "gin.listeners" && e.Msg == "listening":
			listening++
		case e.Logger == "gin.seamless" && strings.HasPrefix(e.Msg, "a reload resets connections"):
			warned++
		}
	}
	if listening != 2 || warned != 2 {
		t.Errorf("%d lines of gin.listeners and %d of gin.seamless, want 2 of each:\n%s", listening, warned, text)
	}
	for _, e := range s.Log() {
		if e.Logger == "gin" || strings.HasPrefix(e.Logger, "gin.") || strings.Contains(e.Logger, "seamless") {
			t.Errorf("in the other log: %s", e.Raw)
		}
	}
}
