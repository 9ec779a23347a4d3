package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestTemplatesAreLoadedWithTheirDelimiters(t *testing.T) {
	t.Parallel()
	const own, gins = "own [[ .Name ]] {{ .Name }}", "gin's [[ .Name ]] {{ .Name }}"
	dir := t.TempDir()
	for name, text := range map[string]string{"own/page.html": own, "gin/page.html": gins} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const without = "gin opt-template"
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\n" + without + "\n}", Env: []string{"OPT_TEMPLATES=" + dir}}.Strict())
	if got := optGet(t, s, "/page"); got.status != http.StatusInternalServerError {
		t.Errorf("without templates: got %d %q", got.status, got.body)
	}
	for directives, want := range map[string]string{
		"templates " + dir + "/gin/*.html":                              "gin's [[ .Name ]] &lt;you&gt;",
		"templates " + dir + "/own/*.html {\ndelims [[ ]]\n}":           "own &lt;you&gt; {{ .Name }}",
		"templates {env.OPT_TEMPLATES}/gin/*.html {\ndelims {{ }}\n}":   "gin's [[ .Name ]] &lt;you&gt;",
		"templates {env.OPT_TEMPLATES}/own/p*e.html {\ndelims [[ ]]\n}": "own &lt;you&gt; {{ .Name }}",
	} {
		if err := s.Reload(optSite("gin opt-template {\n" + directives + "\n}")); err != nil {
			t.Errorf("%s: %v", directives, err)
			continue
		}
		if got := optGet(t, s, "/page"); got.status != http.StatusOK || got.body != want {
			t.Errorf("%s: got %d %q, want %q", directives, got.status, got.body, want)
		}
	}
}
