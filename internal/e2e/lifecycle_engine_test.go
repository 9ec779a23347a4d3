package e2e

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// lifeEngine is a configuration with an app of RegisterEngine.
func lifeEngine(app string, options ...string) testcaddy.Config {
	return testcaddy.Config{Sites: "http://localhost:$HTTP {\n\tgin " + app + " {\n\t\t" + strings.Join(options, "\n\t\t") + "\n\t}\n}\n"}.Strict()
}

func TestEngineThatIsTheSameEachTimeServesAcrossReloads(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeEngine("life-same"))
	var answers atomic.Int64
	var clients sync.WaitGroup
	stop, once := make(chan struct{}), sync.Once{}
	for range 4 {
		client := testcaddy.Client(t, "http")
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for path, want := range map[string]string{"/ping": "pong", "/colon:id/7": "7"} {
					status, body, err := lifeTry(client, s.HTTP(path))
					if err != nil && status == 0 {
						continue // stock TCP
					}
					if err != nil || status != http.StatusOK || body != want {
						once.Do(func() { t.Errorf("%s: got %d %q, %v", path, status, body, err) })
					}
					answers.Add(1)
				}
			}
		})
	}
	for range 50 {
		lifeReload(t, s, lifeEngine("life-same"))
		more := answers.Load() + 20
		testcaddy.Eventually(t, "answers", func() bool { return t.Failed() || answers.Load() >= more })
	}
	close(stop)
	clients.Wait()

	req, err := http.NewRequest(http.MethodGet, s.HTTP("/ip"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "6.6.6.6")
	client := testcaddy.Client(t, "http")
	resp := lifeRetry(t, func() (*http.Response, error) { return client.Do(req) })
	defer func() { _ = resp.Body.Close() }()
	ip, err := io.ReadAll(resp.Body)
	if err != nil || string(ip) != "127.0.0.1" && string(ip) != "::1" {
		t.Errorf("the client's IP is %q, %v", ip, err)
	}
}

// lifeStatus returns the status that a POST of /ping gets: 404, or 405 with
// the option handle_method_not_allowed.
func lifeStatus(t *testing.T, s *testcaddy.Server) int {
	t.Helper()
	client := testcaddy.Client(t, "http")
	resp := lifeRetry(t, func() (*http.Response, error) { return client.Post(s.HTTP("/ping"), "", nil) })
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestEngineInUseRefusesOptionsThatWouldChangeIt(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeEngine("life-same", "handle_method_not_allowed true"))
	if got := lifeStatus(t, s); got != http.StatusMethodNotAllowed {
		t.Errorf("got status %d, want 405", got)
	}
	lifeReload(t, s, lifeEngine("life-same", "handle_method_not_allowed true"))
	const same = "handle_method_not_allowed true"
	for option, name := range map[string]string{
		"redirect_trailing_slash false":    "redirect_trailing_slash",
		"max_multipart_memory 1MiB":        "max_multipart_memory",
		"templates *.html":                 "templates",
		"use_raw_path\nremove_extra_slash": "use_raw_path, remove_extra_slash",
	} {
		lifeRefused(t, s, lifeEngine("life-same", same, option), `"life-same"`, "the same engine each time", "cannot take: "+name+";")
	}
	lifeRefused(t, s, lifeEngine("life-same", "handle_method_not_allowed false"), "cannot take: handle_method_not_allowed;")
	if got := lifeStatus(t, s); got != http.StatusMethodNotAllowed {
		t.Errorf("got status %d from the running configuration, want 405", got)
	}
}

// An option that is taken out of the configuration must not stay in force
// without a word.
func TestEngineInUseRefusesThatAnOptionIsTakenBack(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeEngine("life-same", "handle_method_not_allowed true"))
	err := s.Reload(lifeEngine("life-same"))
	if got := lifeStatus(t, s); err == nil && got != http.StatusNotFound {
		t.Errorf("the configuration without the option is loaded, but a POST gets status %d, want 404", got)
	}
	if err != nil && !strings.Contains(err.Error(), "handle_method_not_allowed") {
		t.Errorf("the message does not name the option: %v", err)
	}
}

func TestOptionsOfAnEngineEndWithItsLastConfiguration(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\nhandle /life {\n" + lifeDirective("1") +
		"}\nhandle {\n\tgin life-same {\n\t\thandle_method_not_allowed true\n\t}\n}\n}"}.Strict())
	if got := lifeStatus(t, s); got != http.StatusMethodNotAllowed {
		t.Errorf("got status %d with the option, want 405", got)
	}
	lifeReload(t, s, testcaddy.Config{Sites: "http://localhost:$HTTP {\n\trespond ok\n}\n"}.Strict())
	lifeAwait(t, s.Dir, "release 1 last") // nothing uses the engine any more
	lifeReload(t, s, lifeEngine("life-same"))
	if got := lifeStatus(t, s); got != http.StatusNotFound {
		t.Errorf("a POST gets status %d without the option, want 404", got)
	}
	if got := lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/colon:id/7")); got != "7" {
		t.Errorf("the route with a colon answers %q when the engine is used again", got)
	}
}

func TestEngineThatPanicsOnTheSecondBuildKeepsTheRunningConfiguration(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeEngine("life-once"))
	for range 20 {
		lifeRefused(t, s, lifeEngine("life-once"), `"life-once"`, "panic", "/ping")
		if got := lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/ping")); got != "pong" {
			t.Fatalf("the running configuration answers %q", got)
		}
	}
}

func TestDefaultEngineLogsToCaddyAndAborts(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeEngine("life-default"))
	client := testcaddy.Client(t, "http")
	if got := lifeGet(t, client, s.HTTP("/ping")); got != "pong" {
		t.Errorf("got %q", got)
	}
	if status, body, err := lifeTry(client, s.HTTP("/abort")); err == nil {
		t.Errorf("/abort looks whole to the client: %d %q", status, body)
	}
	if status, _, err := lifeTry(client, s.HTTP("/panic")); err != nil || status != http.StatusInternalServerError {
		t.Errorf("/panic: got %d, %v", status, err)
	}
	s.Stop()
	var access, recovered bool
	for _, e := range s.Log() {
		if e.Fields == nil {
			t.Errorf("not an entry of the log: %q", e.Raw)
		}
		if strings.Contains(e.Raw, `\u001b`) {
			t.Errorf("terminal codes in the log: %q", e.Raw)
		}
		access = access || e.Logger == "gin" && e.Level == "info" && strings.Contains(e.Msg, `"/ping"`)
		recovered = recovered || e.Logger == "gin" && e.Level == "error" && strings.Contains(e.Msg, "life panics")
	}
	if !access || !recovered {
		t.Errorf("the log of Caddy: gin.Logger %v, gin.Recovery %v; want both", access, recovered)
	}
}
