package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/storm"
	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// stormReloads is the number of reloads in a test. The command reloadstorm
// makes as many as one likes.
const stormReloads = 20

// stormConfig is a configuration with a number that clients can see.
func stormConfig(servers, tls string, number int) testcaddy.Config {
	return testcaddy.Config{
		Exclusive: true,
		Global:    "\tservers {\n" + servers + "\n\t}\n",
		Sites: strings.NewReplacer("$GREETING", strconv.Quote(storm.Greeting(number)), "$TLS", tls).Replace(`
(apps) {
	handle_path /life/* {
		gin life-main {
			config {
				dir $DIR
				value storm
			}
		}
	}
	gin hello {
		config {
			greeting $GREETING
		}
	}
}
$TLS
https://localhost:$HTTPS {
	bind ipv4/127.0.0.1
	tls internal
	import apps
}
`),
	}
}

// stormPlain are the sites that HTTP/3 does not go with.
const stormPlain = `
http://localhost:$HTTP {
	bind ipv4/127.0.0.1
	import apps
}
http://localhost {
	bind unixsock/$DIR/app.sock
	import apps
}`

func TestReloadsFailNothingAndCloseNothing(t *testing.T) {
	t.Parallel()
	stormRun(t, "\t\tlistener_wrappers {\n\t\t\tseamless\n\t\t}", stormPlain,
		storm.HTTP1, storm.TLS, storm.HTTP2, storm.Curl, storm.Unix)
}

func TestReloadsFailNothingOverHTTP3(t *testing.T) {
	t.Parallel()
	stormRun(t, "\t\tprotocols h1 h2\n\t\tlistener_wrappers {\n\t\t\tseamless {\n\t\t\t\th3\n\t\t\t}\n\t\t}", "", storm.HTTP3)
}

// stormRun runs clients of every behaviour, all at once, through reloads.
func stormRun(t *testing.T, servers, plain string, protocols ...storm.Protocol) {
	s := testcaddy.Start(t, stormConfig(servers, plain, 0))
	addresses := map[storm.Protocol]string{
		storm.HTTP1: "127.0.0.1:" + strconv.Itoa(s.HTTPPort),
		storm.Unix:  filepath.Join(s.Dir, "app.sock"),
	}
	var loads []storm.Load
	for _, p := range protocols {
		if _, err := exec.LookPath("curl"); err != nil && p == storm.Curl {
			t.Log("curl is not installed")
			continue
		}
		address := addresses[p]
		if address == "" {
			address = "127.0.0.1:" + strconv.Itoa(s.HTTPSPort)
		}
		for _, b := range storm.Behaviours() {
			if !p.Speaks(b) {
				continue
			}
			load := storm.Load{Protocol: p, Behaviour: b, Address: address, Clients: 2, Seed: uint64(len(loads))}
			switch b {
			case storm.WebSocket:
				load.Path = "/life/ws" // does not care about draining, unlike that of hello
			case storm.Idle:
				load.Clients = 20
			}
			loads = append(loads, load)
		}
	}
	results, err := storm.Run(t.Context(), storm.Plan{Loads: loads, Storm: func(ctx context.Context) error {
		pace := time.NewTicker(100 * time.Millisecond)
		defer pace.Stop()
		for i := range stormReloads {
			if err := s.Reload(stormConfig(servers, plain, i+1)); err != nil {
				return err
			}
			<-pace.C
		}
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Logf("%v: %d requests, %d connections, %d goodbyes", r.Load, r.Requests, r.Opened, r.Goodbyes)
		if problems := r.Problems(); problems != "" {
			t.Errorf("%v: %s", r.Load, problems)
		}
		if r.Behaviour == storm.Events && r.Goodbyes == 0 {
			t.Errorf("%v: no stream was told of a reload: nothing was reloaded", r.Load)
		}
		if r.Behaviour == storm.WebSocket && (r.Goodbyes > 0 || r.Opened != int64(r.Clients)) {
			t.Errorf("%v: %d goodbyes and %d connections of %d clients", r.Load, r.Goodbyes, r.Opened, r.Clients)
		}
	}
}
