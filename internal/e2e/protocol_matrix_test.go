package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// protocolSetup is what lies between the app and the connection. Each of
// these puts another ResponseWriter around the server's own, which hides
// methods that Gin asserts.
type protocolSetup struct {
	log, encode, writeIdle bool
}

func (p protocolSetup) String() string {
	name := func(on bool, what string) string {
		if on {
			return what
		}
		return "no-" + what
	}
	return name(p.log, "log") + "," + name(p.encode, "encode") + "," + name(p.writeIdle, "write_idle")
}

const protocolGreeting = "Grüße from <Gin> & Caddy"

func (p protocolSetup) config() testcaddy.Config {
	// At level debug, what net/http recovers is in the log for all protocols.
	global := "\tdebug\n"
	if !p.writeIdle {
		global += "\tservers {\n\t\ttimeouts {\n\t\t\twrite_idle -1s\n\t\t}\n\t}\n"
	}
	site := "\ttls internal\n"
	if p.log {
		site += "\tlog\n"
	}
	if p.encode {
		// Short answers, too, and streams whose first write is short.
		site += "\tencode gzip {\n\t\tminimum_length 1\n\t}\n"
	}
	site += "\tgin hello {\n\t\tconfig {\n\t\t\tgreeting \"" + protocolGreeting + "\"\n\t\t}\n\t}\n"
	return testcaddy.Config{
		Global: global,
		Sites:  "http://localhost:$HTTP, https://localhost:$HTTPS {\n" + site + "}\n",
	}
}

// protocolSite is one way to talk to one setup.
type protocolSite struct {
	*testcaddy.Server
	protocol string
	client   *http.Client
	gzip     bool // the client accepts gzip and the server is set up for it
}

// protocolChecks are what every setup must stand over every protocol. They
// run one after the other, and leave no request behind.
var protocolChecks = []struct {
	name string
	run  func(*testing.T, protocolSite)
}{
	{"ping", protocolPing},
	{"greeting", protocolGreets},
	{"users", protocolUsers},
	{"whoami", protocolWhoami},
	{"page", protocolPage},
	{"static", protocolStatic},
	{"bytes", protocolBytes},
	{"counter", protocolCounter},
	{"slow", protocolSlow},
	{"fail", protocolFail},
	{"panic", protocolPanic},
	{"echo", protocolEchoInLockstep},
	{"events", protocolEvents},
	{"events-first", protocolFirstEventThenLeaving},
	{"ws", protocolWebSockets},
	{"hijack", protocolHijack},
	{"abort", protocolAbort},
	{"hints", protocolHints},
	{"upload-64M", protocolUpload},
	{"echo-64M", protocolEcho},
}

func TestEveryRouteOverEveryProtocol(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		setup := protocolSetup{log: i&1 != 0, encode: i&2 != 0, writeIdle: i&4 != 0}
		t.Run(setup.String(), func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, setup.config())
			protocolSetupHolds(t, s, setup)
			runs := 0
			for _, protocol := range testcaddy.Protocols {
				site := protocolSite{s, protocol, protocolClient(t, protocol), false}
				t.Run(protocol, func(t *testing.T) { protocolRun(t, site) })
				runs++
				if setup.encode {
					site.gzip = true
					t.Run(protocol+",gzip", func(t *testing.T) { protocolRun(t, site) })
					runs++
				}
			}
			protocolLogHolds(t, s, setup, runs)
		})
	}
}

func protocolRun(t *testing.T, site protocolSite) {
	for _, check := range protocolChecks {
		t.Run(check.name, func(t *testing.T) { check.run(t, site) })
	}
}

// protocolSetupHolds makes sure that the server is what the test takes it for.
func protocolSetupHolds(t *testing.T, s *testcaddy.Server, setup protocolSetup) {
	t.Helper()
	config, err := s.Admin("/config/apps/http/servers")
	if err != nil {
		t.Fatal(err)
	}
	var servers map[string]struct {
		WriteIdle int64           `json:"write_idle_timeout"`
		Logs      json.RawMessage `json:"logs"`
	}
	if err := json.Unmarshal(config, &servers); err != nil || len(servers) != 2 {
		t.Fatalf("%v: got %s", err, config)
	}
	for name, server := range servers {
		// 0 is the default, which is on; see caddyhttp.Server.
		if (server.WriteIdle == 0) != setup.writeIdle || server.WriteIdle > 0 || (server.Logs != nil) != setup.log {
			t.Errorf("server %s is not set up for %v: %+v", name, setup, server)
		}
	}
	if strings.Contains(string(config), `"handler":"encode"`) != setup.encode {
		t.Errorf("not set up for %v: %s", setup, config)
	}
}

// protocolLogHolds looks at what all the runs left in the log: the panics that
// were asked for, and no others, whoever recovered them.
func protocolLogHolds(t *testing.T, s *testcaddy.Server, setup protocolSetup, runs int) {
	t.Helper()
	panics, accesses, foreign := 0, 0, false
	for _, e := range s.Log() {
		switch {
		case e.Fields == nil && !foreign:
			foreign = true // more lines would follow
			t.Errorf("not of the log: %s", e.Raw)
		case e.Fields == nil:
		case e.Logger == "gin.apps.hello" && e.Msg == "handler panicked":
			panics++
			if e.Fields["route"] != "/panic" {
				t.Errorf("a handler panicked: %s", e.Raw)
			}
		case strings.HasPrefix(e.Logger, "http.log.access"):
			accesses++
		case strings.Contains(e.Msg, "panic serving"):
			t.Errorf("a panic reached the server: %s", e.Raw)
		case e.Level == "error" && e.Logger == "http.log.error":
			// what /panic and /fail?status=5xx are to lead to
			if uri := fmt.Sprint(e.Fields["request"]); !strings.Contains(uri, "/panic") && !strings.Contains(uri, "/fail") {
				t.Errorf("a request failed: %s", e.Raw)
			}
		case e.Level == "error" || e.Level == "panic" || e.Level == "dpanic" || e.Level == "fatal":
			t.Errorf("unexpected: %s", e.Raw)
		}
	}
	if panics != runs {
		t.Errorf("%d panics are in the log, want %d", panics, runs)
	}
	if (accesses > 0) != setup.log {
		t.Errorf("%d accesses are in the log", accesses)
	}
}
