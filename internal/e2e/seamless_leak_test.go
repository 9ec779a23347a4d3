package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestSeamlessReloadsLeaveNothing(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	config := func(i int) testcaddy.Config {
		options := []string{"", "", seamSmallHeader}[i%3]
		config := seamSettings(files, options, "0")
		config.Sites += seamSite("http://", fmt.Sprintf("unixsock/$DIR/%d.sock", i), "0") // an address of its own
		if i%4 == 0 {
			config.Sites = strings.Replace(config.Sites, files.tls, files.mtls(), 1)
		}
		return config
	}
	s := testcaddy.Start(t, config(0))
	var kept []*seamConn
	for range 2 {
		c := seamTCP(s, "http").mustDial(t)
		c.wantKept(t, "/value", "0")
		kept = append(kept, c)
	}
	for i := 1; i <= 5; i++ {
		seamReload(t, s, config(0))
	}
	base := lifeSettled(t, s, 15) // three apps each
	for i := 1; i <= 100; i++ {
		var conns []*seamConn
		for _, at := range append(seamProtocols(s), seamUnix(fmt.Sprintf("%s/%d.sock", s.Dir, i-1), "http")) {
			at.cert = &files.client
			c, err := at.dial()
			if err != nil {
				t.Fatal(err)
			}
			c.want(t, "/value", "0")
			conns = append(conns, c)
		}
		seamReload(t, s, config(i))
		for j, c := range conns {
			if j%2 == 0 {
				_, _ = c.get("/value")
			}
			_ = c.Close()
		}
		for j, c := range kept {
			answer, err := c.get("/value")
			if err != nil {
				t.Fatal(err)
			}
			if answer.last {
				_ = c.Close()
				kept[j] = seamTCP(s, "http").mustDial(t)
				kept[j].wantKept(t, "/value", "0")
			}
		}
	}
	seamReload(t, s, config(0))
	for _, c := range kept {
		_, _ = c.get("/value")
	}
	base.restored(t, s)
}
