package caddygin

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/gin-gonic/gin"

	_ "github.com/caddy-gin/caddy-gin/examples/hello"
	"github.com/caddy-gin/caddy-gin/ginbridge"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	_ "github.com/caddy-gin/caddy-gin/internal/testcaddy/testapps"
)

var update = flag.Bool("update", false, "rewrite what the fixtures of testdata/adapt expect")

func TestMain(m *testing.M) { testcaddy.Main(m) }

const fixtureSeparator = "----------"

// brokenModule is an app written by hand whose configuration has no JSON.
type brokenModule struct{}

func init() { caddy.RegisterModule(brokenModule{}) }

func (brokenModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "gin.apps.opt-broken", New: func() caddy.Module { return new(brokenModule) }}
}

func (brokenModule) BuildEngine(app *ginbridge.App) (*gin.Engine, error) { return app.NewEngine(), nil }

func (*brokenModule) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*brokenModule) MarshalJSON() ([]byte, error) { return nil, os.ErrInvalid }

// adapt returns the configuration as indented JSON, or the error's text. The
// list of registered apps, which is another one in every binary, is left out.
func adapt(t *testing.T, text string) (result string, ok bool) {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return strings.ReplaceAll(err.Error(), strings.Join(ginbridge.Names(), ", "), "<all>"), false
	}
	for _, w := range warnings {
		t.Errorf("warning: %s", w)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return indented.String(), true
}

// TestAdapt runs the fixtures: a Caddyfile, a line of dashes, and its JSON or
// the error. What is JSON must also be a configuration that loads.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddytest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddytest"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(string(data), "\r\n", "\n")
			config, want, found := strings.Cut(text, "\n"+fixtureSeparator+"\n")
			if !found && !*update {
				t.Fatalf("no line %s", fixtureSeparator)
			}
			config = strings.TrimRight(config, "\n") + "\n"
			got, ok := adapt(t, config)
			if *update {
				if err := os.WriteFile(file, []byte(config+fixtureSeparator+"\n"+got+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if got != strings.TrimSpace(want) {
				t.Fatalf("got\n%s", got)
			}
			if ok {
				validate(t, got)
			}
		})
	}
}

// validate has a Caddy load the configuration.
func validate(t *testing.T, config string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "caddy.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "templates", "page.html"), []byte("[[ .Name ]]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, code := testcaddy.Run(t, dir, "validate", "--config", file); code != 0 {
		t.Errorf("exit code %d\n%s", code, output)
	}
}

// errorText matches the first text of a call that makes an error of the
// parsers: what is written between the verbs must be in some fixture.
var errorText = regexp.MustCompile(`d\.Errf?\("((?:[^"\\]|\\.)*)"`)

// TestEveryErrorOfTheParsersHasAFixture finds an error that somebody adds
// without one.
func TestEveryErrorOfTheParsersHasAFixture(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/adapt/*.caddytest")
	if err != nil {
		t.Fatal(err)
	}
	var expected []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, want, found := strings.Cut(string(data), "\n"+fixtureSeparator+"\n"); found && !strings.HasPrefix(want, "{") {
			expected = append(expected, want)
		}
	}
	texts := 0
	for _, source := range []string{"caddyfile.go", "configblock.go", "listener.go", "matcher.go", "peer_caddyfile.go", "upgrade.go"} {
		data, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range errorText.FindAllStringSubmatch(string(data), -1) {
			texts++
			pattern := regexp.MustCompile(`%[a-z]`).ReplaceAllString(regexp.QuoteMeta(found[1]), ".*")
			re := regexp.MustCompile(strings.ReplaceAll(pattern, `\\"`, `"`))
			covered := false
			for _, text := range expected {
				covered = covered || re.MatchString(text)
			}
			if !covered {
				t.Errorf("%s: no fixture of testdata/adapt has the error %q", source, found[1])
			}
		}
	}
	if texts < 15 {
		t.Errorf("found %d error texts only", texts)
	}
}
