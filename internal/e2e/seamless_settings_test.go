package e2e

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// seamSettings is seamBoth with options of servers.
func seamSettings(files seamFiles, options, value string) testcaddy.Config {
	return seamConfig(options, seamSite(seamHTTP, "ipv4/127.0.0.1", value), seamSite(seamHTTPS, "ipv4/127.0.0.1", value, files.tls))
}

const (
	seamShortIdle   = "timeouts {\nidle 1s\n}"
	seamShortHeader = "timeouts {\nread_header 1s\n}"
	seamSmallHeader = "max_header_size 4KB"
)

func TestSeamlessConnectionsEndPolitelyWhenSettingsChange(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	for _, options := range []string{
		"timeouts {\nidle 7m\n}", "timeouts {\nread_header 50s\n}", "timeouts {\nread_body 50s\n}", "timeouts {\nwrite 50s\n}",
		"max_header_size 5KB", "protocols h1",
	} {
		t.Run(strings.Fields(strings.TrimPrefix(options, "timeouts {\n"))[0], func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, seamSettings(files, "", "0"))
			var conns []*seamConn
			for _, at := range seamProtocols(s) {
				c := at.mustDial(t)
				c.wantKept(t, "/value", "0")
				conns = append(conns, c)
			}
			seamReload(t, s, seamSettings(files, options, "1"))
			for _, c := range conns {
				c.wantLast(t, "/value", "1")
			}
			kept := seamTCP(s, "https").mustDial(t)
			kept.wantKept(t, "/value", "1")
			seamReload(t, s, seamSettings(files, options, "2"))
			kept.wantKept(t, "/value", "2")
		})
	}
}

func TestSeamlessSettingsChangeUnderLoadWithoutLoss(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	s := testcaddy.Start(t, seamSettings(files, "", "0"))
	load := seamStartLoad(t, seamProtocols(s)...)
	options := []string{"", seamSmallHeader, "", "timeouts {\nidle 6m\n}"}
	for i := int64(1); i <= 20; i++ {
		load.reload(t, s, i, seamSettings(files, options[i%4], strconv.FormatInt(i, 10)))
	}
	load.lossless(t)
}

func TestSeamlessNewConnectionsGetNewSettings(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	large := strings.Repeat("x", 12<<10)
	s := testcaddy.Start(t, seamSettings(files, "", "0"))
	at := seamTCP(s, "http")
	old := at.mustDial(t)
	old.wantKept(t, "/value", "0")

	seamReload(t, s, seamSettings(files, seamSmallHeader, "1"))
	for range 10 {
		c := at.mustDial(t)
		if answer, err := c.get("/plain?" + large); err != nil || answer.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Fatalf("a large header: got %d, %v", answer.status, err)
		}
		_ = c.Close()
	}
	old.wantLast(t, "/plain?"+large, "1") // its own limit holds

	seamReload(t, s, seamSettings(files, seamShortIdle, "2"))
	for range 5 {
		c := at.mustDial(t)
		c.wantKept(t, "/value", "2")
		c.wantEnd(t) // long before the default, which is five minutes
	}

	seamReload(t, s, seamSettings(files, seamShortHeader, "3"))
	c := at.mustDial(t)
	if _, err := io.WriteString(c, "GET /value HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	c.wantEnd(t)

	seamReload(t, s, seamSettings(files, "protocols h1", "4"))
	for _, protocol := range []string{"h2", "h2c"} {
		refused, err := seamTCP(s, protocol).dial()
		if err != nil {
			continue // no such protocol in the handshake
		}
		if answer, err := refused.get("/value"); err == nil {
			t.Errorf("%s: got %d %q with protocols h1", protocol, answer.status, answer.body)
		}
		_ = refused.Close()
	}
	seamServes(t, seamTCP(s, "https"), "/value", "4")
}
