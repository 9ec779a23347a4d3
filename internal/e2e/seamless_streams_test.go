package e2e

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// The streams of life-main do not care about draining: they live on, with the
// value of their own configuration.
func TestSeamlessStreamsLiveOnAcrossReloads(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	const bind = "ipv4/127.0.0.1"
	config := func(i int) testcaddy.Config {
		events := "handle_path /hello/* {\ngin hello {\nconfig {\ninterval 20ms\n}\n}\n}"
		value := strconv.Itoa(i)
		return seamConfig("", seamSite(seamHTTP, bind, value, events), seamSite(seamHTTPS, bind, value, files.tls, events))
	}
	s := testcaddy.Start(t, config(0))
	ws := lifeDial(t, s, "/ws")
	detached := lifeDial(t, s, "/detached")
	var begun []seamBegun
	for i, at := range seamProtocols(s) {
		begun = append(begun, seamBegin(t, at, string(rune('a'+i)), "0"))
	}
	for i := 1; i <= 20; i++ {
		seamReload(t, s, config(i))
		lifeMustEcho(t, ws, "0")
		lifeMustEcho(t, detached, "0")
	}
	lifeAwait(t, s.Dir, "release 10 last") // so that only its users can have kept 0
	lifeMustEcho(t, ws, "0")
	for _, b := range begun {
		answer, err := seamTCP(s, "http").mustDial(t).do(http.MethodPost, "/let/"+b.id, nil)
		if err != nil || answer.status != http.StatusOK {
			t.Fatalf("got %+v, %v", answer, err)
		}
		seamLine(t, b.body, "0")
		_ = b.body.Close()
		b.wantKept(t, "/value", "20")
	}
	_ = ws.Close()
	_ = detached.Close()
	lifeAwait(t, s.Dir, "release 0 last")
}

// A handler that asks is told at once that its configuration is replaced,
// though its connection goes on.
func TestSeamlessDrainingIsToldAtOnce(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	s := testcaddy.Start(t, seamBoth(files, "ipv4/127.0.0.1", "0"))
	for i, at := range seamProtocols(s) {
		c := at.mustDial(t)
		resp, err := c.send(http.MethodGet, "/draining", nil)
		if err != nil {
			t.Fatal(err)
		}
		seamLine(t, resp.Body, strconv.Itoa(i))
		seamReload(t, s, seamBoth(files, "ipv4/127.0.0.1", strconv.Itoa(i+1)))
		seamLine(t, resp.Body, "draining")
		_ = resp.Body.Close()
		c.wantKept(t, "/value", strconv.Itoa(i+1))
	}
}

// The events of hello end at a reload, as its handler honours draining; the
// connection is used again by the client that comes back.
func TestSeamlessEventsComeBackOverTheSameConnection(t *testing.T) {
	t.Parallel()
	config := seamConfig("", seamHTTP+" {\nbind ipv4/127.0.0.1\ngin hello {\nconfig {\ninterval 10ms\n}\n}\n}\n")
	s := testcaddy.Start(t, config)
	for _, protocol := range []string{"http", "h2c"} {
		c := seamTCP(s, protocol).mustDial(t)
		for range 20 {
			resp, err := c.send(http.MethodGet, "/events?n=0", nil)
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(resp.Body)
			for lines.Scan() && !strings.HasPrefix(lines.Text(), "data:") {
				continue
			}
			seamReload(t, s, config)
			for lines.Scan() {
				continue // to the end
			}
			if err := lines.Err(); err != nil {
				t.Fatalf("the events broke off: %v", err)
			}
			_ = resp.Body.Close()
		}
	}
	ws := lifeDial(t, s, "/ws")
	lifeEchoMany(t, []*websocket.Conn{ws}, "", 1)
	seamReload(t, s, config)
	lifeWantGoingAway(t, "/ws", ws)
}
