package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// badConfig is a configuration that is refused, and what the message says.
type badConfig struct {
	global, directives string
	json               string   // a handler, instead of a Caddyfile
	says               []string // parts of the message
	loadOnly           bool     // found when the configuration starts
}

var badConfigs = map[string]badConfig{
	"no app":           {directives: "gin", says: []string{"the name of the Gin app is missing: gin <app>"}},
	"unknown app":      {directives: "gin helo", says: []string{`unknown Gin app "helo"; the registered apps are: `, "hello"}},
	"unknown app JSON": {json: `{"handler": "gin", "app": {"name": "helo"}}`, says: []string{`unknown Gin app "helo"; the registered apps are: `, "hello"}},
	"no app JSON":      {json: `{"handler": "gin"}`, says: []string{"app: the Gin app to serve is missing"}},
	"nameless app":     {json: `{"handler": "gin", "app": {}}`, says: []string{`unknown Gin app ""`, "the registered apps are: "}},
	"app is a string":  {json: `{"handler": "gin", "app": "hello"}`, says: []string{"app: want an object with the key", "name"}},
	"unknown option":   {directives: "gin hello {\ntimeuot 3s\n}", says: []string{`unknown option "timeuot" of gin; the options are: base_path, config, `, "timeout"}},
	"unknown field":    {json: `{"handler": "gin", "app": {"name": "hello"}, "timeuot": 3}`, says: []string{`unknown field "timeuot"`}},
	"option twice":     {directives: "gin hello {\ntimeout 3s\ntimeout 4s\n}", says: []string{`option "timeout" of gin is given twice`}},
	"unknown key": {directives: "gin hello {\nconfig {\ngreting hi\n}\n}",
		says: []string{`config of app "hello": unknown key "greting"; the known keys are: fail_build, greeting, interval, limits, panic_build, shared_key, tags, workers`}},
	"unknown nested key": {directives: "gin hello {\nconfig {\nlimits {\nmax_uplaod 5\n}\n}\n}",
		says: []string{`config of app "hello": unknown key "limits.max_uplaod"; the known keys are: max_upload`}},
	"wrong type": {directives: "gin hello {\nconfig {\nworkers many\n}\n}",
		says: []string{`config of app "hello": key "workers": "many" is not a whole number`}},
	"wrong type JSON": {json: `{"handler": "gin", "app": {"name": "hello", "config": {"workers": [1]}}}`,
		says: []string{`config of app "hello"`, "workers"}},
	"wrong duration": {directives: "gin hello {\nconfig {\ninterval often\n}\n}",
		says: []string{`key "interval": "often" is not a duration such as 500ms, 30s or 1d`}},
	"list for a value":                {directives: "gin hello {\nconfig {\ngreeting a b\n}\n}", says: []string{`config of app "hello"`, "greeting"}},
	"refused by app":                  {directives: "gin hello {\nconfig {\nworkers 65\n}\n}", says: []string{`building Gin app "hello": workers is 65, must be 0 to 64`}},
	"build error":                     {directives: "gin hello {\nconfig {\nfail_build true\n}\n}", says: []string{`building Gin app "hello": fail_build is set`}},
	"build error with a shared value": {directives: "gin hello {\nconfig {\nshared_key other\nfail_build\n}\n}", says: []string{"fail_build is set"}},
	"build panic":                     {directives: "gin hello {\nconfig {\npanic_build true\n}\n}", says: []string{`building Gin app "hello": panic: panic_build is set`}},
	"base_path":                       {directives: "gin hello {\nbase_path shop\n}", says: []string{`base_path: "shop" is not a clean path that starts with a slash, such as /shop`}},
	"unclean base_path":               {directives: "gin hello {\nbase_path /a/../b\n}", says: []string{`base_path: "/a/../b" is not a clean path`}},
	"base_path slashes":               {directives: "gin hello {\nbase_path //evil.com\n}", says: []string{`base_path: "//evil.com" is not a clean path`}},
	"timeout":                         {directives: "gin hello {\ntimeout soon\n}", says: []string{`timeout: "soon" is not a positive duration such as 500ms, 30s or 1h`}},
	"negative timeout":                {json: `{"handler": "gin", "app": {"name": "hello"}, "timeout": -1}`, says: []string{"timeout: -1ns is negative"}},
	"memory":                          {directives: "gin hello {\nmax_multipart_memory much\n}", says: []string{`max_multipart_memory: "much" is not a size such as 512KiB or 32MiB`}},
	"negative memory":                 {json: `{"handler": "gin", "app": {"name": "hello"}, "max_multipart_memory": -1}`, says: []string{"max_multipart_memory: -1 is negative"}},
	"flag":                            {directives: "gin hello {\nuse_raw_path maybe\n}", says: []string{`use_raw_path: "maybe" is not one of true, false`}},
	"no template": {directives: "gin opt-template {\ntemplates $DIR/none/*.html\n}",
		says: []string{`setting up Gin app "opt-template"`, "none/*.html", "pattern matches no files"}},
	"bad template": {directives: "gin opt-template {\ntemplates $DIR/bad.html\n}",
		says: []string{`setting up Gin app "opt-template"`, "bad.html:1", "nofunction"}},
	"bad pattern": {directives: "gin opt-template {\ntemplates \"$DIR/[\"\n}",
		says: []string{`setting up Gin app "opt-template"`, "syntax error in pattern"}},
	"no pattern JSON": {json: `{"handler": "gin", "app": {"name": "opt-template"}, "templates": {}}`, says: []string{"templates: the pattern of the files is missing"}},
	"one delimiter": {json: `{"handler": "gin", "app": {"name": "opt-template"}, "templates": {"glob": "*", "delims": ["x"]}}`,
		says: []string{"templates: delims wants a left and a right delimiter, not 1 values"}},
	"empty delimiter": {json: `{"handler": "gin", "app": {"name": "opt-template"}, "templates": {"glob": "*", "delims": ["x", ""]}}`,
		says: []string{"templates: delims takes a left and a right delimiter"}},
	"gin_route": {directives: "gin hello\n@x gin_route helo\nrespond @x x", says: []string{`unknown Gin app "helo"; the registered apps are: `}},
	"gin_route JSON": {json: `{"handler": "subroute", "routes": [{"match": [{"gin_route": {"apps": ["helo"]}}]}]}`,
		says: []string{`unknown Gin app "helo"; the registered apps are: `}},
	"empty gin_route JSON": {json: `{"handler": "subroute", "routes": [{"match": [{"gin_route": {}}]}]}`, says: []string{"gin_route", "the name of a Gin app is missing"}},
	"gin_route of an app served nowhere": {directives: "@x gin_route hello\nrespond @x x", loadOnly: true,
		says: []string{`gin_route: the Gin app "hello" is not served by any gin handler of this configuration`}},
	"mode":        {global: "gin {\nmode fast\n}", directives: "gin hello", says: []string{`mode: "fast" is not one of release, debug, test`}},
	"no mode":     {global: "gin {\nmode\n}", directives: "gin hello", says: []string{"mode wants one value"}},
	"gin options": {global: "gin {\nmodus debug\n}", directives: "gin hello", says: []string{`unknown global option "modus" of gin; the options are: listener, mode`}},
	"module":      {directives: "gin opt-module", says: []string{"opt-module has no word to say"}},
	// the mode is set by then, and has to be set back
	"late error in debug mode": {global: "gin {\nmode debug\n}", directives: "gin hello {\nconfig {\nfail_build\n}\n}", says: []string{"fail_build is set"}},
}

// text returns the configuration for a server, and its content type.
func (c badConfig) text(s *testcaddy.Server) (contentType, text string) {
	if c.json != "" {
		return "application/json", optJSON(s, c.json)
	}
	config := optSite(c.directives)
	config.Global += c.global
	return "text/caddyfile", s.Expand(config)
}

func (c badConfig) check(t *testing.T, message string) {
	t.Helper()
	for _, part := range c.says {
		if !strings.Contains(message, part) {
			t.Errorf("got the message %q, which does not say %q", message, part)
		}
	}
	if strings.Contains(message, "goroutine ") || strings.Contains(message, "\n\t") {
		t.Errorf("the message has a stack: %q", message)
	}
}

// writeBadTemplate makes the file that "bad template" wants.
func writeBadTemplate(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "bad.html"), []byte("{{ nofunction }}"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestValidateRefusesBadConfigurations(t *testing.T) {
	t.Parallel()
	for name, bad := range badConfigs {
		if bad.loadOnly {
			continue // "caddy validate" provisions, but does not start
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &testcaddy.Server{Dir: t.TempDir(), HTTPPort: 1, HTTPSPort: 2} // never started
			writeBadTemplate(t, s.Dir)
			contentType, text := bad.text(s)
			file := filepath.Join(s.Dir, "Caddyfile")
			if contentType == "application/json" {
				file = filepath.Join(s.Dir, "caddy.json")
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			output, code := testcaddy.Run(t, s.Dir, "validate", "--config", file)
			if code != 1 || strings.Contains(output, "Valid configuration") {
				t.Errorf("exit code %d", code)
			}
			bad.check(t, onlyError(t, output))
		})
	}
}

// onlyError returns the one error of a command's log, which must be its last
// line.
func onlyError(t *testing.T, output string) (message string) {
	t.Helper()
	for line := range strings.Lines(output) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("not of the log: %s", line)
		}
		if message != "" {
			t.Errorf("after the error comes: %s", line)
		}
		if entry.Level == "error" {
			message = entry.Msg
		}
	}
	return message
}

func TestFailedLoadsLeaveEverythingAsItWas(t *testing.T) {
	t.Parallel()
	good := optSite("gin opt-routes\nhandle_path /hello/* {\ngin hello {\nconfig {\ngreeting good\n}\n}\n}")
	good.Global += "gin {\nmode test\n}"
	s := testcaddy.Start(t, good)
	writeBadTemplate(t, s.Dir)
	// served is called with the one connection that is kept open
	client := testcaddy.Client(t, "http")
	served := func() {
		t.Helper()
		for path, want := range map[string]string{"/ping": `"mode":"test"`, "/hello/greeting": "good"} {
			resp, err := client.Get(s.HTTP(path))
			if err != nil {
				t.Fatal(err)
			}
			if got := optRead(t, resp); got.status != http.StatusOK || !strings.Contains(got.body, want) {
				t.Errorf("%s: got %d %q", path, got.status, got.body)
			}
		}
	}
	loadAll := func() {
		for name, bad := range badConfigs {
			contentType, text := bad.text(s)
			err := s.Load(contentType, text)
			if err == nil {
				t.Fatalf("%s: was loaded", name)
			}
			t.Run(name, func(t *testing.T) { bad.check(t, err.Error()) })
			served()
		}
	}
	served()
	loadAll() // what is made once is made now
	goroutines, descriptors := s.Goroutines(), s.Descriptors()
	for range 2 {
		loadAll()
	}
	served()
	testcaddy.Eventually(t, "no goroutine is left of the failed loads", func() bool { return s.Goroutines() <= goroutines })
	testcaddy.Eventually(t, "no descriptor is left of the failed loads", func() bool { return s.Descriptors() <= descriptors })
	// what the failed builds opened is closed, the value that serves is not
	testcaddy.Eventually(t, "the shared values of the failed loads are closed", func() bool {
		var values struct{ Opened, Closed int }
		body := optGet(t, s, "/hello/shared").body
		return json.Unmarshal([]byte(body), &values) == nil && values.Opened == 4 && values.Closed == 3
	})
}
