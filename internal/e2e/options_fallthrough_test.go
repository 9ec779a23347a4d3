package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// fallthroughSite serves opt-routes before files.
func fallthroughSite(options string) testcaddy.Config {
	return optSite("root * {env.OPT_ROOT}\ngin opt-routes {\nfallthrough\n" + options + "\n}\nfile_server\n" +
		"handle_errors {\nrespond \"{err.status_code}\"\n}")
}

func startFallthrough(t *testing.T, options string) *testcaddy.Server {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"hello.txt", "ping", "form", "users/index.html", "slashes"} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("the file "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := fallthroughSite(options)
	config.Env = []string{"OPT_ROOT=" + root}
	return testcaddy.Start(t, config)
}

// ranMiddleware returns how often the app's middleware ran, this request included.
func ranMiddleware(t *testing.T, s *testcaddy.Server) int {
	t.Helper()
	n, err := strconv.Atoi(optGet(t, s, "/ran").body)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFallthroughRunsNothingOfTheAppForUnmatchedRequests(t *testing.T) {
	t.Parallel()
	s := startFallthrough(t, "")
	before := ranMiddleware(t, s)
	for _, test := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "/hello.txt", 200, "the file hello.txt"},
		{"HEAD", "/hello.txt", 200, ""},
		{"GET", "/users/", 200, "the file users/index.html"}, // no redirect: the route wants an id
		{"GET", "/form", 200, "the file form"},               // has routes for POST and PUT only
		{"HEAD", "/ping", 200, ""},                           // Gin does not answer HEAD by GET routes
		{"OPTIONS", "/ping", 405, "405"},                     // the file server's
		{"POST", "/ping", 405, "405"},
		{"DELETE", "/form", 405, "405"},
		{"GET", "/nothing", 404, "404"},
		{"GET", "/pinga", 404, "404"},
		{"GET", "/", 404, "404"},
		{"GET", "/v1/items", 404, "404"},
		{"GET", "/v1/items:other", 404, "404"},
	} {
		got := optDo(t, s, test.method, test.target)
		if got.status != test.status || got.body != test.body || got.header.Get("X-Opt-Middleware") != "" {
			t.Errorf("%s %s: got %d %q, X-Opt-Middleware %q; want %d %q", test.method, test.target,
				got.status, got.body, got.header.Get("X-Opt-Middleware"), test.status, test.body)
		}
	}
	if after := ranMiddleware(t, s); after != before+1 {
		t.Errorf("the middleware of the app ran %d times for requests that are not the app's", after-before-1)
	}
}

func TestFallthroughLeavesTheAppItsRoutesAndRedirects(t *testing.T) {
	t.Parallel()
	s := startFallthrough(t, "redirect_fixed_path")
	for target, want := range map[string]optCase{
		"/ping":                {status: 200, route: "/ping"},
		"/users/7":             {status: 200, route: "/users/:id", param: "7"},
		"/files/":              {status: 200, route: "/files/*path", param: "/"},
		"/files/a/b.txt":       {status: 200, route: "/files/*path", param: "/a/b.txt"},
		"/v1/items:batch":      {status: 200, route: "/v1/items:batch"},
		"/v1/items:batch/9":    {status: 200, route: "/v1/items:batch/:n", param: "9"},
		"/v1/items%3Abatch/9":  {status: 200, route: "/v1/items:batch/:n", param: "9"},
		"/files":               {status: 301, location: "/files/"},
		"/ping/":               {status: 301, location: "/ping"},
		"/slash?x=y":           {status: 301, location: "/slash/?x=y"},
		"/fixed/path":          {status: 301, location: "/Fixed/Path"},
		"/PING":                {status: 301, location: "/ping"},
		"/hello.txt/../slash/": {status: 301, location: "/slash/"},
	} {
		want.target = target
		want.check(t, s)
	}
	if got := optDo(t, s, http.MethodPost, "/form/"); got.status != http.StatusTemporaryRedirect || got.header.Get("Location") != "/form" {
		t.Errorf("POST /form/: got %d to %q", got.status, got.header.Get("Location"))
	}
}

func TestFallthroughKeepsMethodNotAllowedIfTheAppAnswersIt(t *testing.T) {
	t.Parallel()
	s := startFallthrough(t, "handle_method_not_allowed")
	for _, test := range []struct{ method, target, allow string }{
		{"OPTIONS", "/ping", "GET"},
		{"HEAD", "/ping", "GET"},
		{"POST", "/ping", "GET"},
		{"GET", "/form", "POST, PUT"},
		{"DELETE", "/v1/items:batch", "GET"},
	} {
		got := optDo(t, s, test.method, test.target)
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != test.allow || got.header.Get("X-Opt-Middleware") != "ran" {
			t.Errorf("%s %s: got %d, Allow %q, X-Opt-Middleware %q", test.method, test.target,
				got.status, got.header.Get("Allow"), got.header.Get("X-Opt-Middleware"))
		}
	}
	if got := optGet(t, s, "/hello.txt"); got.body != "the file hello.txt" {
		t.Errorf("an unmatched path: got %d %q", got.status, got.body)
	}
}

func TestFallthroughLeavesAllToAnAppWithNoRoute(t *testing.T) {
	t.Parallel()
	s := startFallthrough(t, "config {\nno_route\n}")
	got := optGet(t, s, "/hello.txt")
	if got.status != http.StatusNotFound || got.body != "nothing here, says the app" || got.header.Get("X-Opt-Middleware") != "ran" {
		t.Errorf("got %d %q", got.status, got.body)
	}
	warned := 0
	for _, e := range s.Log() {
		if e.Level == "warn" && e.Logger == "gin" && e.Fields["app"] == "opt-routes" {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("%d warnings:\n%s", warned, s.RawLog())
	}
}

// Without fallthrough an escaped colon must not depend on who looks first:
// the app, or a look-up for a placeholder.
func TestEscapedColonsWorkWithoutFallthrough(t *testing.T) {
	t.Parallel()
	for name, directives := range map[string]string{
		"alone":                           "gin opt-routes",
		"placeholders before the handler": "header X-Route {http.gin.route}\ngin opt-routes",
		"matcher":                         "@api gin_route opt-routes\ngin @api opt-routes",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, optSite(directives))
			for range 2 {
				optCase{target: "/v1/items:batch", status: 200, route: "/v1/items:batch"}.check(t, s)
				optCase{target: "/v1/items:batch/1", status: 200, route: "/v1/items:batch/:n", param: "1"}.check(t, s)
			}
		})
	}
}
