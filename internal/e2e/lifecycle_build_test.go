package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestBuildThatFailsKeepsTheRunningConfiguration(t *testing.T) {
	t.Parallel()
	hello := func(greeting, line string) testcaddy.Config {
		return testcaddy.Config{Sites: "http://localhost:$HTTP {\n\tgin hello {\n\t\tconfig {\n\t\t\tgreeting " +
			greeting + "\n\t\t\t" + line + "\n\t\t}\n\t}\n}\n"}.Strict()
	}
	s := testcaddy.Start(t, hello("good", ""))
	client := testcaddy.Client(t, "http")
	fail := func(i int) {
		t.Helper()
		greeting := "bad" + strconv.Itoa(i)
		lifeRefused(t, s, hello(greeting, "fail_build true"), `"hello"`, "fail_build is set")
		lifeRefused(t, s, hello(greeting, "panic_build true"), `"hello"`, "panic", "panic_build is set")
		lifeRefused(t, s, hello(greeting, "shared_key other"+greeting+"\nfail_build true"), "fail_build is set")
		if got := lifeGet(t, client, s.HTTP("/greeting")); got != "good" {
			t.Fatalf("the running configuration answers %q", got)
		}
	}
	for i := range 5 {
		fail(i)
	}
	client.CloseIdleConnections()
	base := lifeSettled(t, s, 0)
	for i := range 50 {
		fail(i)
	}
	client.CloseIdleConnections()
	base.restored(t, s)
	// 55 stores were opened by configurations of their own key that failed
	if got, want := lifeGet(t, client, s.HTTP("/shared")), `{"closed":55,"opened":56}`; got != want {
		t.Errorf("stores: got %s, want %s", got, want)
	}
	if got, want := lifeGet(t, client, s.HTTP("/goroutines")), `{"starts":1,"workers":1}`; got != want {
		t.Errorf("goroutines: got %s, want %s", got, want)
	}
	lifeReload(t, s, hello("better", ""))
	if got := lifeGet(t, client, s.HTTP("/greeting")); got != "better" {
		t.Errorf("got %q after the next load", got)
	}
}

// A configuration that fails changes nothing of the process, whenever it
// fails: Gin's mode is one for all.
func TestConfigurationThatFailsDoesNotChangeTheMode(t *testing.T) {
	t.Parallel()
	// In debug mode Gin remarks on handlers that set the status twice.
	remarks := func(s *testcaddy.Server) int {
		lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/twice"))
		lifeReload(t, s, lifeApp("next")) // a later entry of the log
		n := 0
		for _, e := range s.Log() {
			if e.Logger == "gin" && strings.Contains(e.Msg, "Headers were already written") {
				n++
			}
		}
		return n
	}
	debug := lifeApp("debug")
	debug.Global += "\tgin {\n\t\tmode debug\n\t}\n"
	late, early := debug, lifeApp("early", "fail error")
	early.Global = debug.Global

	s := testcaddy.Start(t, lifeApp("release"))
	lifeRefused(t, s, early, "the build fails")
	if n := remarks(s); n != 0 {
		t.Errorf("Gin is in debug mode after a build that failed")
	}
	lifeLoadLateFailure(t, s, late, false)
	lifeAwait(t, s.Dir, "release debug last")
	if n := remarks(s); n != 0 {
		t.Errorf("Gin is in debug mode after a configuration that failed at the end of its start")
	}
	lifeReload(t, s, debug)
	if n := remarks(s); n == 0 {
		t.Errorf("Gin is not in debug mode, so this test shows nothing")
	}
}

func TestReleaseFunctionsRunInReverseOrderWhateverFails(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("1", "bad_release true"))
	lifeReload(t, s, lifeApp("2", "bad_release true"))
	lifeAwait(t, s.Dir, "release 1 last") // replaced
	lifeRefused(t, s, lifeApp("3", "bad_release true", "fail error"), "the build fails for 3")
	s.Stop()
	book := lifeBook(t, s.Dir)
	for _, value := range []string{"1", "2", "3"} {
		first, last := slices.Index(book, "release "+value+" first"), slices.Index(book, "release "+value+" last")
		if first < 0 || last < first {
			t.Errorf("the functions of %s did not run in reverse order:\n%s", value, strings.Join(book, "\n"))
		}
		var panicked, failed bool
		for _, e := range s.Log() {
			if e.Level != "error" || e.Logger != "gin.apps.life-main" {
				continue
			}
			panicked = panicked || e.Msg == "releasing a resource panicked" && e.Fields["panic"] == "release panics for "+value
			failed = failed || e.Msg == "releasing a resource" && e.Fields["error"] == "release fails for "+value
		}
		if !panicked || !failed {
			t.Errorf("the log of %s: panic %v, error %v; want both", value, panicked, failed)
		}
	}
}

func TestValidateBuildsAndReleases(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config []string
		code   int
		output string
	}{
		"good":  {nil, 0, "Valid configuration"},
		"error": {[]string{"fail error"}, 1, "the build fails for 1"},
		"panic": {[]string{"fail panic"}, 1, "the build panics for 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "Caddyfile")
			config := lifeApp("1", append(test.config, "key k", "tasks 2")...)
			text := strings.NewReplacer("$HTTP", "80", "$DIR", dir).Replace(config.Sites)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			output, code := testcaddy.Run(t, dir, "validate", "--config", file)
			if code != test.code || !strings.Contains(output, test.output) {
				t.Errorf("got code %d, want %d and %q in:\n%s", code, test.code, test.output, output)
			}
			want := []string{"open k", "close k", "release 1 first", "release 1 last"}
			if got := lifeBook(t, dir); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
