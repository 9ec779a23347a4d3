package e2e

import (
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// seamBroken is a configuration that does not load.
type seamBroken struct {
	name        string
	contentType string
	text        string
	says        string // part of the message
}

// seamBrokens are configurations that break in different ways, at different
// times: when they are read, provisioned, started, or later.
func seamBrokens(t *testing.T, s *testcaddy.Server, files seamFiles) (all []seamBroken) {
	t.Helper()
	const bind = "ipv4/127.0.0.1"
	caddyfile := func(name, says string, config testcaddy.Config) {
		all = append(all, seamBroken{name, "text/caddyfile", s.Expand(config), says})
	}
	directives := func(name, says string, lines ...string) {
		caddyfile(name, says, seamConfig("", seamSite(seamHTTP, bind, "bad", lines...), seamSite(seamHTTPS, bind, "bad", files.tls)))
	}
	life := func(name, says, binds string, lines ...string) {
		caddyfile(name, says, seamConfig("", seamSite(seamHTTPS, bind, "bad", files.tls),
			seamHTTP+" {\nbind "+binds+"\n"+lifeDirective("bad", lines...)+"}\n"))
	}
	json := func(name, says, text string) {
		all = append(all, seamBroken{name, "application/json", text, says})
	}
	apps := func(name, says, app string, value any) {
		other := seamSite("http://localhost:$HTTP", "unixsock/$DIR/"+app+".sock", "bad")
		config := seamConfig("", seamSite(seamHTTP, bind, "bad"), seamSite(seamHTTPS, bind, "bad", files.tls), other)
		json(name, says, seamWithApps(t, s, config, map[string]any{app: value}))
	}

	json("not JSON", "unexpected end of JSON input", `{"apps": {`)
	json("another type", "cannot unmarshal", `{"apps": []}`)
	json("unknown field", "unknown field", `{"app": {}}`)
	json("identifier twice", "duplicate ID", `{"apps": {"http": {"@id": "x", "servers": {"a": {"@id": "x"}}}}}`)
	json("address twice", "listener address repeated",
		`{"admin": {"listen": "unix/`+s.Dir+`/admin.sock"}, "apps": {"http": {"servers": {"a": {"listen": ["ipv4/127.0.0.1:1"]}, "b": {"listen": ["ipv4/127.0.0.1:1"]}}}}}`)
	apps("unknown Caddy app", "nope", "nope", map[string]any{})
	apps("app that fails when provisioned", "seam_fail fails to be provisioned", "seam_fail", map[string]any{"at": "provision"})
	for i := range 4 { // apps start in any order
		apps("app that fails when started "+strconv.Itoa(i), "seam_fail fails to start", "seam_fail",
			map[string]any{"network": "unix", "address": s.Dir + "/seam_fail.sock"})
	}
	caddyfile("open brace", "syntax error", testcaddy.Config{Sites: "http:// {\n"})
	caddyfile("two sites of a name", "ambiguous site definition", seamConfig("", seamSite(seamHTTP, bind, "bad"), seamSite(seamHTTP, bind, "bad")))
	caddyfile("wrapper before another", "seamless must be the last", seamServers("listener_wrappers {\nseamless\nhttp_redirect\n}", seamSite(seamHTTP, bind, "bad")))
	caddyfile("unknown wrapper", "nope", seamServers("listener_wrappers {\nnope\nseamless\n}", seamSite(seamHTTP, bind, "bad")))
	directives("unknown directive", "unrecognized directive: nope", "nope")
	directives("file to import", "File to import not found: nope.conf", "import nope.conf")
	directives("unknown Gin app", `unknown Gin app "helo"`, "gin helo")
	directives("unknown matcher", "nope", "@a nope\nrespond @a a")
	directives("log file", "/proc/nope", "log {\noutput file /proc/nope/access.log\n}")
	life("build error", "the build fails for bad", bind, "fail error")
	life("build panic", "the build panics for bad", bind, "fail panic")
	life("shared value", "cannot open for bad", bind, "key k", "open error")
	caddyfile("no such certificate", "nope.pem", seamConfig("", seamSite(seamHTTP, bind, "bad"), seamSite(seamHTTPS, bind, "bad", "tls nope.pem nope.pem")))
	caddyfile("no certificate", "tls", seamConfig("", seamSite(seamHTTP, bind, "bad"), seamSite(seamHTTPS, bind, "bad", "tls /dev/null /dev/null")))

	// an address that is not to be had, opened after one that is
	ln, err := net.Listen("tcp4", "127.0.0.2:"+strconv.Itoa(s.HTTPPort))
	if err != nil {
		t.Skip("no second address: ", err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	life("address in use", "127.0.0.2:"+strconv.Itoa(s.HTTPPort), bind+" ipv4/127.0.0.2")
	life("address in use, of Caddy's network", "127.0.0.2:"+strconv.Itoa(s.HTTPPort), bind+" tcp4/127.0.0.2")
	life("address of another host", "192.0.2.1", bind+" ipv4/192.0.2.1")
	life("no folder", "nope", bind+" unixsock/$DIR/nope/app.sock")
	life("unknown option", "backlgo", bind+" ipv4/127.0.0.3?backlgo=5")
	return all
}

func TestSeamlessBrokenConfigurationsDisturbNobody(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	s := testcaddy.Start(t, seamBoth(files, "ipv4/127.0.0.1", "0"))
	brokens := seamBrokens(t, s, files)
	if len(brokens) < 20 {
		t.Fatalf("%d configurations", len(brokens))
	}
	load := seamStartLoad(t, seamProtocols(s)...)
	for _, broken := range brokens {
		load.more(t, 20)
		err := s.Load(broken.contentType, broken.text)
		switch {
		case err == nil:
			t.Errorf("%s: was loaded", broken.name)
			seamReload(t, s, seamBoth(files, "ipv4/127.0.0.1", "0"))
		case !strings.Contains(err.Error(), broken.says) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: the message is %q", broken.name, err)
		default:
			t.Logf("%s: %v", broken.name, err)
		}
		if n := load.failed.Load(); n > 0 {
			t.Fatalf("%s: %d requests failed: %s", broken.name, n, load.failures)
		}
	}
	load.more(t, 100)
	load.kept(t)
}
