package e2e

import (
	"net"
	"strconv"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// Two servers whose addresses differ by an option only are two servers.
func TestSeamlessServersAtOneAddressOfTwoDevices(t *testing.T) {
	t.Parallel()
	host := newNetHost(t)
	host.ip("link add veth0 type veth peer name veth1", "addr add 10.0.0.1/24 dev veth0", "link set veth0 up", "link set veth1 up")
	config := func(i int) testcaddy.Config {
		value := strconv.Itoa(i)
		return seamConfig("",
			seamSite("http://a.example:8080", "ipv4/*?device=lo", "1"+value),
			seamSite("http://b.example:8080", "ipv4/*?device=veth0", "2"+value))
	}
	s := host.start(config(0))
	for i := range 5 {
		if i > 0 {
			seamReload(t, s, config(i))
		}
		raw, err := host.dial("tcp", "127.0.0.1", 8080)
		if err != nil {
			t.Fatal(err)
		}
		c := seamOver(raw, "http")
		c.host = "a.example"
		c.want(t, "/value", "1"+strconv.Itoa(i))
		_ = c.Close()
	}
}

// Two Unix sockets of Caddy's own network whose names differ behind a question
// mark only are two.
func TestSeamlessUnixSocketsWithAQuestionMark(t *testing.T) {
	t.Parallel()
	config := seamConfig("", seamSite("http://a.example", "unix/$DIR/s?a", "1"), seamSite("http://b.example", "unix/$DIR/s?b", "2"))
	s := testcaddy.Start(t, config)
	for range 5 {
		for name, value := range map[string]string{"a": "1", "b": "2"} {
			raw, err := net.Dial("unix", s.Dir+"/s?"+name)
			if err != nil {
				t.Fatal(err)
			}
			c := seamOver(raw, "http")
			c.host = name + ".example"
			c.want(t, "/value", value)
			_ = c.Close()
		}
		seamReload(t, s, config)
	}
}
