package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// seamWithApps returns a configuration as JSON, with further Caddy apps.
func seamWithApps(t testing.TB, s *testcaddy.Server, config testcaddy.Config, apps map[string]any) string {
	t.Helper()
	object := lifeAdapt(t, s, config)
	for name, app := range apps {
		object["apps"].(map[string]any)[name] = app
	}
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// seamProtocols are all ways to a server's two ports.
func seamProtocols(s *testcaddy.Server) (ats []seamAt) {
	for _, protocol := range []string{"http", "https", "h2", "h2c"} {
		ats = append(ats, seamTCP(s, protocol))
	}
	return ats
}

// The failure comes when all listeners are open and the configuration is the
// current one for a moment.
func TestSeamlessConfigurationThatFailsAfterItsStartGivesWay(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	for _, slowly := range []bool{false, true} {
		t.Run("slowly "+strconv.FormatBool(slowly), func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, seamBoth(files, "ipv4/127.0.0.1", "0"))
			load := seamStartLoad(t, seamProtocols(s)...)
			load.more(t, 50)
			loads := 5
			if slowly {
				loads = 1
			}
			for i := range loads {
				load.newest.Store(int64(i + 1)) // served for a moment
				lifeLoadLateFailure(t, s, seamBoth(files, "ipv4/127.0.0.1", strconv.Itoa(i+1)), slowly)
				load.more(t, 50)
				seamServes(t, seamTCP(s, "http"), "/value", "0")
			}
			load.newest.Store(0)
			load.more(t, 100)
			load.kept(t)
		})
	}
}

// Other modules of a configuration are cleaned up before its HTTP app or after
// it, in any order: from the first of them on, it must not get requests.
func TestSeamlessConfigurationGetsNoRequestsWhileItIsCleanedUp(t *testing.T) {
	t.Parallel()
	const bind = "ipv4/127.0.0.1"
	s := testcaddy.Start(t, seamConfig("", seamSite(seamHTTP, bind, "0")))
	cleaning, cleaned := filepath.Join(s.Dir, "cleaning"), filepath.Join(s.Dir, "cleaned")
	exists := func(file string) bool {
		_, err := os.Stat(file)
		return err == nil
	}
	c := seamTCP(s, "http").mustDial(t)
	for i := range 10 { // 2 of 3 orders would show it
		_ = os.Remove(cleaning)
		_ = os.Remove(cleaned)
		object := lifeAdapt(t, s, seamConfig("", seamSite(seamHTTP, bind, "bad")))
		object["apps"].(map[string]any)["seam_cleanup"] = map[string]any{"dir": s.Dir}
		object["admin"].(map[string]any)["config"] = map[string]any{"load": map[string]any{"module": "nowhere"}}
		body, _ := json.Marshal(object)
		failed := make(chan error, 1)
		go func() { failed <- s.Load("application/json", string(body)) }()
		testcaddy.Eventually(t, "the clean-up", func() bool { return exists(cleaning) })
		var late []string
		for range 20 {
			answer, err := c.get("/value")
			if err != nil {
				t.Fatal(err)
			}
			late = append(late, answer.body)
		}
		if err := os.WriteFile(cleaned, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err == nil || !strings.Contains(err.Error(), "loading config loader module") {
			t.Fatalf("got %v", err)
		}
		if late[len(late)-1] != "0" {
			t.Fatalf("load %d: the configuration that failed serves while its modules are cleaned up: %s", i, late)
		}
		c.wantKept(t, "/value", "0")
	}
}

func TestSeamlessServesAgainAfterAllIsStopped(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	config := func(value string) testcaddy.Config { return seamBoth(files, "ipv4/127.0.0.1", value) }
	s := testcaddy.Start(t, config("1"))
	for _, at := range seamProtocols(s) {
		seamReload(t, s, config("1"))
		idle := at.mustDial(t)
		idle.wantKept(t, "/value", "1")
		busy, ender := at.mustDial(t), at.mustDial(t)
		resp, err := busy.send(http.MethodGet, "/hold/"+at.protocol, nil)
		if err != nil {
			t.Fatal(err)
		}
		seamLine(t, resp.Body, "1")

		seamAdmin(t, s, http.MethodDelete, "/config/apps/http")
		idle.wantEnd(t)
		_, _ = ender.get("/value") // it may be open or not

		seamReload(t, s, config("2"))
		seamServes(t, at, "/value", "2")
		let, err := at.mustDial(t).do(http.MethodPost, "/let/"+at.protocol, nil)
		if err != nil || let.status != http.StatusOK {
			t.Fatalf("got %+v, %v", let, err)
		}
		seamLine(t, resp.Body, "1")
		_ = resp.Body.Close()
		busy.wantEnd(t)
		seamServes(t, at, "/value", "2")
	}
}
