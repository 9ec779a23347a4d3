package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestAdminShowsApps(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, adminSite("v1"))
	apps := adminGet[[]adminApp](t, s, "/gin/apps")
	if len(apps) != 3 {
		t.Fatalf("got %d apps, want 3: %+v", len(apps), apps)
	}
	for i, path := range []string{"", "/shop/*", ""} {
		app := apps[i]
		if app.Path != path || app.Name != "admin-main" || app.Module != "gin.apps.admin-main" ||
			!slices.Equal(app.Hosts, []string{"localhost"}) || app.Since.IsZero() || len(app.Listen) != 1 {
			t.Errorf("app %d: %+v", i, app)
		}
		want := `{"token":"REDACTED","unready":"` + s.Dir + `/unready","value":"v1"}`
		if string(app.Config) != want {
			t.Errorf("the configuration is %s, want %s", app.Config, want)
		}
	}
}

func TestAdminCountsRequestsOfRoutes(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, adminSite("v1"))
	for i := range 20 {
		optGet(t, s, s.HTTP("/guarded/items/"+strconv.Itoa(i)))
	}
	optGet(t, s, s.HTTP("/shop/guarded/items/broken"))
	optGet(t, s, s.HTTP("/nothing"))
	// a configuration that replaces it counts on
	seamReload(t, s, adminSite("v2"))
	optDo(t, s, http.MethodDelete, s.HTTP("/guarded/items/x"))
	optGet(t, s, s.HTTP("/guarded/items/x"))

	routes := adminGet[[]adminRoute](t, s, "/gin/routes?app=admin-main")
	want := map[string]adminRoute{
		"DELETE /guarded/items/:id": {Middleware: 2, Requests: 1},
		"GET /guarded/items/:id":    {Middleware: 2, Requests: 22, Errors: 1},
		"GET /value":                {},
	}
	for _, r := range routes {
		name := r.Method + " " + r.Pattern
		w, ok := want[name]
		delete(want, name)
		if !ok || r.Middleware != w.Middleware || r.Requests != w.Requests || r.Errors != w.Errors || r.App != "admin-main" {
			t.Errorf("%s: %+v, want %+v", name, r, w)
		}
		if asked := r.Requests > 0; (r.P50 > 0) != asked || r.P99 < r.P50 {
			t.Errorf("%s: p50 %v, p99 %v", name, r.P50, r.P99)
		}
		if strings.Contains(r.Pattern, "items") && r.Handler != "github.com/caddy-gin/caddy-gin/internal/testcaddy/testapps.adminItem" {
			t.Errorf("%s: handler %s", name, r.Handler)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestAdminShowsListeners(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, adminSite("v1"))
	conn := seamTCP(s, "http").mustDial(t)
	conn.want(t, "/value", "v1")
	seamReload(t, s, adminSite("v2"))
	conn.wantKept(t, "/value", "v2")
	got := adminGet[adminListeners](t, s, "/gin/listeners")
	if len(got.Listeners) != 2 {
		t.Fatalf("got %+v", got)
	}
	tcp, unix := got.Listeners[0], got.Listeners[1]
	if tcp.Network != "ipv4" || tcp.Bound != "127.0.0.1:"+strconv.Itoa(s.HTTPPort) || tcp.Family != "IPv4" || tcp.Transport != "tcp" ||
		tcp.Open != 1 || tcp.Accepted != 1 || tcp.MaxConn != 500 || !tcp.Seamless || tcp.Carried != 1 ||
		!slices.Contains(tcp.Generations, 2) || !strings.HasPrefix(tcp.Asked, "ipv4/127.0.0.1?") {
		t.Errorf("got %+v", tcp)
	}
	if runtime.GOOS == "linux" && (tcp.Queue == nil || tcp.Queue.Limit != 77 || tcp.Options["backlog"] != "77" || got.Host["listen_overflows"] > got.Host["listen_drops"]) {
		t.Errorf("got %+v, %v", tcp.Queue, got.Host)
	}
	if unix.Network != "unixsock" || unix.Bound != filepath.Join(s.Dir, "app.sock") || unix.Transport != "unix" || unix.Mode != "0620" ||
		unix.UID != os.Getuid() || !unix.Seamless || unix.Carried != 0 {
		t.Errorf("got %+v", unix)
	}
}

func TestAdminShowsGenerations(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, adminSite("v1"))
	first := adminGet[[]adminGeneration](t, s, "/gin/generations")
	if len(first) != 1 || first[0].State != "live" || first[0].PID == 0 || !slices.Equal(first[0].Apps, []string{"admin-main"}) || first[0].Started.IsZero() {
		t.Fatalf("got %+v", first)
	}
	if held := first[0].Held; !slices.Equal(held.Shared, []string{"*testapps.adminConfig"}) || held.Goroutines != 3 || held.Releasers != 6 {
		t.Errorf("it holds %+v", held)
	}
	hash := func(g []adminGeneration) string { return g[len(g)-1].Hash }
	seamReload(t, s, adminSite("v2"))
	second := adminGet[[]adminGeneration](t, s, "/gin/generations")
	seamReload(t, s, adminSite("v1"))
	third := adminGet[[]adminGeneration](t, s, "/gin/generations")
	if hash(first) == "" || hash(first) == hash(second) || hash(first) != hash(third) {
		t.Errorf("hashes %s, %s, %s", hash(first), hash(second), hash(third))
	}
	if n := len(second); n < 1 || second[n-1].ID <= first[0].ID || second[n-1].State != "live" {
		t.Errorf("got %+v", second)
	}
	for _, g := range third[:len(third)-1] {
		if g.State != "draining" || g.Drained.IsZero() {
			t.Errorf("got %+v", g)
		}
	}
}

func TestAdminTellsWhetherTheServerIsReady(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, adminSite("v1"))
	ready := adminGet[adminHealth](t, s, "/gin/health/ready")
	if !ready.OK || ready.Generation == 0 {
		t.Errorf("got %+v", ready)
	}
	unready := filepath.Join(s.Dir, "unready")
	if err := os.WriteFile(unready, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := adminDo(t, s, http.MethodGet, "/gin/health/ready", nil)
	if a.StatusCode != http.StatusServiceUnavailable || strings.Count(a.body, `app \"admin-main\": the database does not answer`) != 3 {
		t.Errorf("got %s, %s", a.Status, a.body)
	}
	if live := adminGet[adminHealth](t, s, "/gin/health/live"); !live.OK {
		t.Error("not live")
	}
	if err := os.Remove(unready); err != nil {
		t.Fatal(err)
	}
	if ready := adminGet[adminHealth](t, s, "/gin/health/ready"); !ready.OK {
		t.Errorf("got %+v", ready)
	}

	seamReload(t, s, testcaddy.Config{Sites: "http://localhost:$HTTP {\n\tbind ipv4/127.0.0.1\n\trespond nothing\n}\n"})
	a = adminDo(t, s, http.MethodGet, "/gin/health/ready", nil)
	if a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, "no configuration with a Gin app is loaded") {
		t.Errorf("got %s, %s", a.Status, a.body)
	}
	for _, path := range []string{"/gin/apps", "/gin/routes", "/gin/generations"} {
		if path == "/gin/generations" {
			continue // that of before may still drain
		}
		if a := adminDo(t, s, http.MethodGet, path, nil); a.body != "[]\n" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}

func TestAdminEndsStreamsOfAnOldConfiguration(t *testing.T) {
	streamBoth(t, func(t *testing.T, seamless bool) {
		s := testcaddy.Start(t, streamSite(seamless, "v0"))
		crowd := streamOpen(t, s, "v0", 5, 5)
		crowd.follow(t, streamGet(t, testcaddy.Client(t, "http"), s.HTTP("/stubborn"))) // does not look at its context
		crowd.follow(t, streamGet(t, testcaddy.Client(t, "h2"), s.HTTPS("/events")))
		crowd.follow(t, streamGet(t, testcaddy.Client(t, "h2"), s.HTTPS("/stubborn")))
		old := adminGet[[]adminGeneration](t, s, "/gin/generations")[0]
		if old.Hijacked != 5 || old.Streams != 8 || old.Oldest.IsZero() {
			t.Errorf("got %+v", old)
		}
		closing := "/gin/generations/" + strconv.FormatUint(old.ID, 10) + "/close"
		if a := adminDo(t, s, http.MethodPost, closing, nil); a.StatusCode != http.StatusConflict || !strings.Contains(a.body, "live") {
			t.Errorf("the live one: %s, %s", a.Status, a.body)
		}
		crowd.mustLive(t)
		lifeReload(t, s, streamSite(seamless, "v1"))
		others := streamOpen(t, s, "v1", 3, 3)
		crowd.mustLive(t)
		if a := adminDo(t, s, http.MethodPost, closing, nil); a.StatusCode != http.StatusOK || a.body != "{\"closed\":13}\n" {
			t.Errorf("got %s, %s", a.Status, a.body)
		}
		crowd.await(t)
		others.mustLive(t)
		testcaddy.Eventually(t, "the release", func() bool { return streamReleased(s, "v0") })
		testcaddy.Eventually(t, "the end of the generation", func() bool {
			return len(adminGet[[]adminGeneration](t, s, "/gin/generations")) == 1
		})
		if a := adminDo(t, s, http.MethodPost, closing, nil); a.StatusCode != http.StatusNotFound {
			t.Errorf("one that is gone: %s, %s", a.Status, a.body)
		}
		others.mustLive(t)
	})
}

func TestAdminRefusesBadCalls(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, adminSite("v1"))
	for _, test := range []struct {
		method, path, want string
		status             int
		body               int
		header             []string
	}{
		{"POST", "/gin/apps", "/gin/apps is for GET only", http.StatusMethodNotAllowed, 0, nil},
		{"DELETE", "/gin/generations", "for GET only", http.StatusMethodNotAllowed, 0, nil},
		{"GET", "/gin/generations/1/close", "for POST only", http.StatusMethodNotAllowed, 0, nil},
		{"BREW", "/gin/health/live", "for GET only", http.StatusMethodNotAllowed, 0, nil},
		{"GET", "/gin/", "the endpoints are", http.StatusNotFound, 0, nil},
		{"GET", "/gin/nothing", `there is no \"/gin/nothing\"`, http.StatusNotFound, 0, nil},
		{"GET", "/gin/routes?app=nothing", "its apps are: admin-main", http.StatusNotFound, 0, nil},
		{"POST", "/gin/generations/99/close", "there is no generation 99", http.StatusNotFound, 0, nil},
		{"POST", "/gin/generations/-1/close", "a whole number", http.StatusBadRequest, 0, nil},
		{"POST", "/gin/generations/first/close", "a whole number", http.StatusBadRequest, 0, nil},
		{"POST", "/gin/generations/18446744073709551616/close", "a whole number", http.StatusBadRequest, 0, nil},
		{"GET", "/gin/check", "the parameter address is missing", http.StatusBadRequest, 0, nil},
		{"GET", "/gin/check?address=ipv4/127.0.0.1%3Fnothing=1:80", "unknown option", http.StatusBadRequest, 0, nil},
		{"GET", "/gin/check?address=what/%3A80", "network what", http.StatusBadRequest, 0, nil},
		{"GET", "/gin/check?address=ipv4/:99999", "port", http.StatusBadRequest, 0, nil},
		{"GET", "/gin/check?address=ipv4/:80&port=x", "not a port", http.StatusBadRequest, 0, nil},
		{"GET", "/gin/check?address=ipv4/:80&h3=perhaps", "neither true nor false", http.StatusBadRequest, 0, nil},
		{"POST", "/gin/generations/1/close", "takes no body", http.StatusRequestEntityTooLarge, 1 << 20, nil},
		{"GET", "/gin/apps", "takes no body", http.StatusRequestEntityTooLarge, 1 << 20, nil},
		{"GET", "/gin/apps", "not allowed", http.StatusForbidden, 0, []string{"Origin", "http://evil.example"}},
		{"POST", "/gin/generations/1/close", "not allowed", http.StatusForbidden, 0, []string{"Origin", "http://evil.example"}},
		{"GET", "/gin/apps", "no-cors", http.StatusBadRequest, 0, []string{"Sec-Fetch-Mode", "no-cors"}},
	} {
		a := adminDo(t, s, test.method, test.path, strings.NewReader(strings.Repeat("x", test.body)), test.header...)
		if a.StatusCode != test.status || a.Header.Get("Content-Type") != "application/json" ||
			!strings.HasPrefix(a.body, `{"error":"`) || !strings.Contains(a.body, test.want) || strings.Count(a.body, "\n") != 1 {
			if test.want == "no-cors" && a.StatusCode == http.StatusBadRequest {
				continue // the words are Caddy's
			}
			t.Errorf("%s %s: %s, %s; want %d and %q", test.method, test.path, a.Status, a.body, test.status, test.want)
		}
		if test.status == http.StatusMethodNotAllowed && a.Header.Get("Allow") == "" {
			t.Errorf("%s %s: no header Allow", test.method, test.path)
		}
	}
	if ready := adminGet[adminHealth](t, s, "/gin/health/ready"); !ready.OK {
		t.Errorf("afterwards: %+v", ready)
	}
}

// A probe from elsewhere, as docs/operations.md has it.
func TestAdminHealthThroughAProxy(t *testing.T) {
	t.Parallel()
	config := adminSite("v1")
	port := strconv.Itoa(testcaddy.FreePort(t))
	config.Sites += "http://localhost:" + port + ` {
	bind ipv4/127.0.0.1
	handle /gin/health/* {
		reverse_proxy unix/$DIR/admin.sock {
			header_up Host caddy
			header_up -Origin
			header_up -Sec-Fetch-Mode
		}
	}
}
`
	testcaddy.Start(t, config)
	for path, want := range map[string]string{"/gin/health/ready": `"ok":true`, "/gin/apps": ""} {
		req, err := http.NewRequest(http.MethodGet, "http://localhost:"+port+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "http://evil.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		a := optRead(t, resp)
		if a.status != http.StatusOK || !strings.Contains(a.body, want) || want == "" && a.body != "" {
			t.Errorf("%s: %d, %s", path, a.status, a.body)
		}
	}
}

func TestAdminMasksModulesWrittenByHand(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP {\n\tgin opt-module {\n\t\tconfig hello {\n\t\t\ttimes 2\n\t\t}\n\t}\n}\n"})
	apps := adminGet[[]adminApp](t, s, "/gin/apps")
	if len(apps) != 1 || string(apps[0].Config) != `{"times":2,"word":"hello"}` {
		t.Errorf("got %+v", apps)
	}
}
