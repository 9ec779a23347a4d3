package upgrade

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A release is often a folder, and the current one a symbolic link: the next
// binary is where the link leads then.
func TestOwnBinaryIsTheOneThatWasCalled(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	link, other := filepath.Join(dir, "link"), filepath.Join(dir, "other")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/sh", other); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PATH", dir)
	for called, want := range map[string]string{
		own: own, link: link, "./link": link, "link": link,
		other: own, filepath.Join(dir, "missing"): own, "missing": own, "": own,
	} {
		if got, err := ownBinary(called); got != want || err != nil {
			t.Errorf("called as %q: got %s and %v, want %s", called, got, err, want)
		}
	}
}

func TestParseArgs(t *testing.T) {
	t.Chdir(t.TempDir())
	for text, want := range map[string]struct {
		line
		err string
	}{
		"caddy run":                                    {line: line{args: []string{"caddy", "run"}}},
		"caddy run -c a.json":                          {line: line{args: []string{"caddy", "run"}, file: "a.json"}},
		"caddy run --config=a --adapter x -er":         {line: line{args: []string{"caddy", "run", "--environ"}, file: "a", adapter: "x"}},
		"caddy run --envfile a --envfile b":            {line: line{args: []string{"caddy", "run", "--envfile", "a", "--envfile", "b"}}},
		"caddy run --pingback 127.0.0.1:1 --pidfile p": {line: line{args: []string{"caddy", "run"}, pidFile: "p"}},
		"caddy run --watch":                            {err: "--watch cannot be passed on"},
		"caddy run -w":                                 {err: "--watch cannot be passed on"},
		"caddy run --new":                              {err: "unknown flag: --new"},
		"caddy file-server":                            {err: "only `caddy run`"},
		"caddy":                                        {err: "only `caddy run`"},
	} {
		got, err := parseArgs(strings.Fields(text))
		switch {
		case want.err != "":
			if err == nil || !strings.Contains(err.Error(), want.err) {
				t.Errorf("%s: got error %v, want %q", text, err, want.err)
			}
		case err != nil:
			t.Errorf("%s: %v", text, err)
		case !slices.Equal(got.args, want.args) || got.file != want.file || got.adapter != want.adapter || got.pidFile != want.pidFile:
			t.Errorf("%s: got %+v, want %+v", text, got, want.line)
		}
	}
}

func FuzzParseArgs(f *testing.F) {
	for _, text := range []string{"caddy run -c a.json", "caddy run --envfile=a,b -e", "caddy run --watch", "caddy run --", "caddy run -wr --pidfile"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		args := strings.Fields(text)
		l, err := parseArgs(args)
		if err == nil && (len(l.args) < 2 || l.args[0] != args[0] || l.args[1] != "run") {
			t.Errorf("%q: got %q", text, l.args)
		}
	})
}
