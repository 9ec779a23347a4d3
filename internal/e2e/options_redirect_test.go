package e2e

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

var optLink = regexp.MustCompile(`<a href="([^"]*)">`)

// checkRedirect checks Location and that the page of a GET links to the same.
func checkRedirect(t *testing.T, s *testcaddy.Server, method, target string, status int, location string, header ...string) {
	t.Helper()
	got := optDo(t, s, method, target, header...)
	if got.status != status || got.header.Get("Location") != location {
		t.Errorf("%s %s: got %d to %q, want %d to %q", method, target, got.status, got.header.Get("Location"), status, location)
		return
	}
	link := optLink.FindStringSubmatch(got.body)
	switch {
	case method != "GET" && got.body != "":
		t.Errorf("%s %s: has the body %q", method, target, got.body)
	case method == "GET" && (link == nil || html.UnescapeString(link[1]) != location):
		t.Errorf("GET %s: the page %q does not link to %q", target, got.body, location)
	}
}

// Gin keeps only letters, digits and "-" of a prefix, and forgets it when it
// fixes paths.
func TestRedirectsKeepThePrefix(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"/app", "/a_b/v1.2/~me", "/shop-2"} {
		const options = "redirect_fixed_path\n"
		mounts := map[string]string{
			"base_path":              "gin opt-routes {\nbase_path " + prefix + "\n" + options + "}",
			"base_path with a slash": "gin opt-routes {\nbase_path " + prefix + "/\n" + options + "}",
			"handle_path":            "handle_path " + prefix + "/* {\ngin opt-routes {\n" + options + "}\n}",
		}
		if i := strings.LastIndex(prefix, "/"); i > 0 {
			mounts["handle_path and base_path"] = "handle_path " + prefix[:i] + "/* {\ngin opt-routes {\nbase_path " + prefix[i:] + "\n" + options + "}\n}"
		}
		for mount, directives := range mounts {
			t.Run(prefix+" by "+mount, func(t *testing.T) {
				t.Parallel()
				s := testcaddy.Start(t, optSite(directives))
				checkRedirect(t, s, "GET", prefix+"/ping/", 301, prefix+"/ping")
				checkRedirect(t, s, "GET", prefix+"/slash", 301, prefix+"/slash/")
				checkRedirect(t, s, "GET", prefix+"/ping/?a=1&b=%3C", 301, prefix+"/ping?a=1&b=%3C")
				checkRedirect(t, s, "GET", prefix+"/fixed/PATH?a=1", 301, prefix+"/Fixed/Path?a=1")
				checkRedirect(t, s, "GET", prefix+"/files", 301, prefix+"/files/")
				checkRedirect(t, s, "GET", prefix+"/users/%C3%A4%20b/", 301, prefix+"/users/%C3%A4%20b")
				checkRedirect(t, s, "GET", prefix+"/users/%22%3E%3Cb/", 301, prefix+"/users/%22%3E%3Cb")
				checkRedirect(t, s, "POST", prefix+"/form/", 307, prefix+"/form")
				checkRedirect(t, s, "POST", prefix+"/FORM", 307, prefix+"/form")
				// a client that makes up a prefix of its own gets the true one
				checkRedirect(t, s, "GET", prefix+"/ping/", 301, prefix+"/ping", "X-Forwarded-Prefix: //evil.com")
				if echo := optGet(t, s, prefix+"/ping").echo(t); echo.Path != "/ping" {
					t.Errorf("the app sees the path %q", echo.Path)
				}
			})
		}
	}
}

// A redirect leads to the path that was asked for, but for what it corrects.
func TestRedirectsBelowAPrefixKeepEscapedCharacters(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, optSite("gin opt-routes {\nbase_path /app\n}"))
	for _, name := range []string{"a%5Cb", "%3Fa", "a%25b", "a%23b", "a:b", "x.y~z_"} {
		checkRedirect(t, s, "GET", "/app/users/"+name+"/", 301, "/app/users/"+name)
	}
}

// Whatever the path, a redirect of Gin's stays on the site.
func TestRedirectsNeverLeadToAnotherHost(t *testing.T) {
	t.Parallel()
	const options = "redirect_fixed_path\nremove_extra_slash\n"
	tests := map[string]struct{ prefix, directives string }{
		"Gin's own options":     {"", "gin opt-hosts"},
		"no prefix":             {"", "gin opt-hosts {\n" + options + "}"},
		"base_path":             {"/app", "gin opt-hosts {\nbase_path /app\n" + options + "}"},
		"handle_path":           {"/app", "handle_path /app/* {\ngin opt-hosts {\n" + options + "}\n}"},
		"handle_path, no slash": {"/app", "handle_path /app* {\ngin opt-hosts {\n" + options + "}\n}"},
		"strip_prefix":          {"/app", "uri strip_prefix /app\ngin opt-hosts {\n" + options + "}"},
		"a slash stripped":      {"/", "handle_path /* {\ngin opt-hosts {\n" + options + "}\n}"},
		"a slash by strip":      {"/", "uri strip_prefix /\ngin opt-hosts {\n" + options + "}"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, optSite(test.directives))
			redirects := 0
			for _, path := range optHostilePaths {
				target := test.prefix + path
				for _, header := range []string{"X-A: b", "X-Forwarded-Prefix: //evil.com", `X-Forwarded-Prefix: /\evil.com`} {
					got := optGet(t, s, target, header)
					if got.status/100 != 3 {
						continue
					}
					redirects++
					location := got.header.Get("Location")
					if !staysOnSite(location) {
						t.Errorf("GET %s with %s: leads to %q", target, header, location)
						break
					}
					if link := optLink.FindStringSubmatch(got.body); link == nil || html.UnescapeString(link[1]) != location {
						t.Errorf("GET %s with %s: Location is %q, but the page is %q", target, header, location, got.body)
						break
					}
				}
			}
			if redirects == 0 {
				t.Error("no path was redirected: the test shows nothing")
			}
		})
	}
}

// optHostilePaths are those that could be taken for an address of evil.com.
var optHostilePaths = []string{
	"//evil.com/ping/", "///evil.com/ping/", "//evil.com/dir", "//evil.com/PING", "//evil.com/PING/", "//evil.com/me/ping/",
	`/\evil.com/ping/`, `/\evil.com/dir`, `/\/evil.com/ping/`, "/%5Cevil.com/ping/", "/%5cevil.com/dir",
	"/%2Fevil.com/ping/", "/%2fevil.com/dir", "/%2F%2Fevil.com/ping/", "/%09/evil.com/ping/", "/.//evil.com/dir",
	"/..//evil.com/ping/", "/x/..//evil.com/ping/", "/evil.com//ping/", "/;//evil.com/ping/",
}

// staysOnSite tells whether a browser takes the location for a path: it takes
// backslashes for slashes, and skips tabs and line ends.
func staysOnSite(location string) bool {
	seen := strings.NewReplacer(`\`, "/", "\t", "", "\n", "", "\r", "").Replace(location)
	u, err := url.Parse(seen)
	return err == nil && u.Host == "" && u.Scheme == "" && strings.HasPrefix(seen, "/") && !strings.HasPrefix(seen, "//")
}
