package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// Who is at the other end is asked for by a later configuration than the one
// that took the connection.
func TestSeamlessPeerOfAnOlderConnection(t *testing.T) {
	t.Parallel()
	for _, bind := range []string{"unixsock/$DIR/app.sock", "unix/$DIR/app.sock"} {
		t.Run(filepath.Dir(bind), func(t *testing.T) {
			t.Parallel()
			user := strconv.Itoa(os.Getuid())
			without := seamConfig("", seamSite("http://", bind, "0"))
			with := seamConfig("", seamSite("http://", bind, "1",
				"@me unix_peer uid "+user, "@other not unix_peer uid "+user, "respond @me me", "respond @other other"))
			s := testcaddy.Start(t, without)
			for _, protocol := range []string{"http", "h2c"} {
				seamReload(t, s, without)
				c := seamUnix(s.Dir+"/app.sock", protocol).mustDial(t)
				c.wantKept(t, "/plain", "0")
				seamReload(t, s, with)
				c.wantKept(t, "/any", "me")
				seamServes(t, c.at, "/any", "me")
			}
		})
	}
}

// Functions of ConnContext see a connection once, when it is new.
func TestSeamlessConnContextIsOfTheCurrentConfiguration(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	config := func(value string) testcaddy.Config {
		return seamConfig("", seamSite(seamHTTP, "ipv4/127.0.0.1", value, "seam_mark mark"+value),
			seamSite(seamHTTPS, "ipv4/127.0.0.1", value, files.tls, "seam_mark mark"+value))
	}
	s := testcaddy.Start(t, config("0"))
	for _, at := range seamProtocols(s) {
		seamReload(t, s, config("0"))
		old := at.mustDial(t)
		wantMark := func(c *seamConn, value, mark string) {
			t.Helper()
			if got := c.want(t, "/plain", value).header.Get("Seam-Mark"); got != mark {
				t.Errorf("%s: the mark is %q, want %q", at.protocol, got, mark)
			}
		}
		wantMark(old, "0", "mark0")
		for i := 1; i <= 3; i++ {
			value := strconv.Itoa(i)
			seamReload(t, s, config(value))
			wantMark(at.mustDial(t), value, "mark"+value)
			wantMark(old, value, "mark0")
		}
	}
}
