package upgrade

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

var (
	docsBlock = regexp.MustCompile("(?s)```console\n(.*?)```")
	// docsConfig is the Caddyfile that stands before the commands.
	docsConfig = regexp.MustCompile("(?s)```caddyfile\n((?:[^`])*18080(?:[^`])*)```")
	// docsVaries is what differs from one run to the next.
	docsVaries = regexp.MustCompile(`\d+\.\d{3}s|process \d+|instead of \d+|pid=\d+|\(version [^)]*\)|version .*`)
)

// The commands of docs/upgrades.md print what the page says.
func TestUpgradePage(t *testing.T) {
	t.Parallel()
	testcaddy.Program(t, "curl")
	page, err := os.ReadFile("../../../docs/upgrades.md")
	if err != nil {
		t.Fatal(err)
	}
	block, caddyfile := docsBlock.FindSubmatch(page), docsConfig.FindSubmatch(page)
	if block == nil || caddyfile == nil {
		t.Fatal("the page has no commands, or no Caddyfile for them")
	}
	dir, err := os.MkdirTemp("", "cgd")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{t: t, dir: dir, binary: filepath.Join(dir, "caddy")}
	t.Cleanup(func() {
		s.killAll()
		_ = os.RemoveAll(dir)
	})
	port, admin := strconv.Itoa(testcaddy.FreePort(t)), strconv.Itoa(testcaddy.FreePort(t))
	s.put(testcaddy.Binary(t))
	if err := os.Rename(s.binary, s.binary+".new"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("cp", s.binary+".new", s.binary).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s.write("Caddyfile", strings.ReplaceAll(string(caddyfile[1]), "18080", port))
	env := append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir,
		"GIN_MODE=", "LC_ALL=C", "CADDY_ADMIN=localhost:"+admin)
	var now strings.Builder
	for line := range strings.Lines(string(block[1])) {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		stdout, err := os.Create(filepath.Join(dir, "stdout")) // no pipe: what is started would keep it open
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", strings.NewReplacer("18080", port, "/opt/caddy/", dir+"/").Replace(command))
		cmd.Dir, cmd.Env, cmd.Stdout = dir, env, stdout
		if err := cmd.Run(); err != nil {
			t.Errorf("%s: %v", command, err)
		}
		_ = stdout.Close()
		printed, err := os.ReadFile(stdout.Name())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(printed), dir+"/", "/opt/caddy/")
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		now.WriteString(line + text)
	}
	normal := func(text string) string { return docsVaries.ReplaceAllString(text, "*") }
	if got, want := normal(now.String()), normal(string(block[1])); got != want {
		t.Errorf("the page differs; the commands print\n%s", now.String())
	}
}

// The messages in the page's table are in the code.
func TestUpgradePageNamesRealMessages(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/upgrades.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../../listeners/upgrade/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	code := regexp.MustCompile(`%\w`).ReplaceAllString(source.String(), "…")
	_, table, _ := strings.Cut(string(page), "## When it is refused or fails")
	rows := regexp.MustCompile("(?m)^\\| `{1,2}(.*?)`{1,2}[ ,](?:\\||\"|`)").FindAllStringSubmatch(table, -1)
	if len(rows) < 12 {
		t.Fatalf("found only %d messages", len(rows))
	}
	for _, row := range rows {
		for part := range strings.SplitSeq(row[1], "…") {
			if part = strings.Trim(part, " :;()\""); part != "" && !strings.Contains(code, part) {
				t.Errorf("no message says %q", part)
			}
		}
	}
}
