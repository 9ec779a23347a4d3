package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestModuleWrittenByHandWorksFromCaddyfileAndJSON(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, optSite("gin opt-module {\nconfig hey {\ntimes 3\n}\n}"))
	if got := optGet(t, s, "/say"); got.body != "hey!hey!hey!" {
		t.Errorf("from a Caddyfile: got %d %q", got.status, got.body)
	}
	if err := s.Reload(optSite("gin opt-module {\nconfig ho\n}")); err != nil {
		t.Fatal(err)
	}
	if got := optGet(t, s, "/say"); got.body != "ho!" {
		t.Errorf("with its default: got %d %q", got.status, got.body)
	}
	if err := s.Load("application/json", optJSON(s, `{"handler": "gin", "app": {"name": "opt-module", "word": "json", "times": 2}}`)); err != nil {
		t.Fatal(err)
	}
	if got := optGet(t, s, "/say"); got.body != "json!json!" {
		t.Errorf("from JSON: got %d %q", got.status, got.body)
	}
	for handler, want := range map[string]string{
		`{"handler": "gin", "app": {"name": "opt-module"}}`:                             "opt-module has no word to say",
		`{"handler": "gin", "app": {"name": "opt-module", "words": "x"}}`:               `unknown field "words"`,
		`{"handler": "gin", "app": {"name": "opt-module", "config": {"word": "nope"}}}`: `unknown field "config"`,
	} {
		if err := s.Load("application/json", optJSON(s, handler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got the error %v, want %s", handler, err, want)
		}
	}
	if err := s.Reload(optSite("gin opt-module {\nconfig hey {\ntimez 3\n}\n}")); err == nil || !strings.Contains(err.Error(), `unknown option "timez" of opt-module`) {
		t.Errorf("an unknown option: got the error %v", err)
	}
	if got := optGet(t, s, "/say"); got.body != "json!json!" {
		t.Errorf("after configurations that failed: got %d %q", got.status, got.body)
	}
}

// optJSON returns a configuration with one handler.
func optJSON(s *testcaddy.Server, handler string) string {
	return fmt.Sprintf(`{
		"admin": {"listen": "unix/%s/admin.sock"},
		"apps": {"http": {"servers": {"srv": {
			"listen": ["ipv4/127.0.0.1:%d"], "automatic_https": {"disable": true},
			"routes": [{"handle": [%s]}]
		}}}}
	}`, s.Dir, s.HTTPPort, handler)
}

// What the adapter makes of a Caddyfile and the same written as JSON are one
// configuration.
func TestJSONAndCaddyfileAreEquivalent(t *testing.T) {
	t.Parallel()
	config := optSite(`gin hello {
		config {
			greeting "from a file"
			tags a b
			workers 2
			interval 1m30s
			limits {
				max_upload 1024
			}
		}
		base_path /app
		timeout 4m
		handle_method_not_allowed
		redirect_trailing_slash false
	}`)
	s := testcaddy.Start(t, config)
	asked := func() string {
		post := optDo(t, s, "POST", "/app/ping")
		slash := optGet(t, s, "/app/ping/")
		return optGet(t, s, "/app/config").body + fmt.Sprint(post.status, post.header.Get("Allow"), slash.status)
	}
	const want = `{"greeting":"from a file","interval":"1m30s","limits":{"max_upload":1024},"shared_key":"visits","tags":["a","b"],"workers":2}405GET404`
	if got := strings.ReplaceAll(asked(), " ", ""); got != strings.ReplaceAll(want, " ", "") {
		t.Errorf("from the Caddyfile: got %s", got)
	}
	file := filepath.Join(s.Dir, "Caddyfile")
	adapted, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(adapted), "gin hello") {
		t.Fatal(err)
	}
	output, code := testcaddy.Run(t, s.Dir, "adapt", "--config", file)
	if code != 0 {
		t.Fatal(output)
	}
	for line := range strings.Lines(output) { // the log is printed, too
		if strings.HasPrefix(line, `{"admin"`) {
			output = line
		}
	}
	if !json.Valid([]byte(output)) {
		t.Fatalf("not JSON: %s", output)
	}
	for name, text := range map[string]string{
		"adapted": output,
		"by hand": optJSON(s, `{"handler": "gin", "base_path": "/app", "timeout": "4m", "handle_method_not_allowed": true,
			"redirect_trailing_slash": false, "app": {"name": "hello", "config": {
				"greeting": "from a file", "tags": ["a", "b"], "workers": 2, "interval": 90000000000, "limits": {"max_upload": 1024}}}}`),
	} {
		if err := s.Load("application/json", text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := strings.ReplaceAll(asked(), " ", ""); got != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
