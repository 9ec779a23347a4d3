package e2e

import (
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// sockPort returns the port of the n-th "listening" in the log, counted from
// 1.
func sockPort(t *testing.T, s *testcaddy.Server, n int) int {
	t.Helper()
	for _, e := range s.Log() {
		if !strings.HasPrefix(e.Logger, "gin.listeners") || e.Msg != "listening" {
			continue
		}
		if n--; n > 0 {
			continue
		}
		address, _ := e.Fields["address"].(string)
		port, err := strconv.Atoi(address[strings.LastIndex(address, ":")+1:])
		if err != nil {
			t.Fatalf("no port in %s", e.Raw)
		}
		return port
	}
	t.Fatalf("the log does not say where it listens:\n%s", s.RawLog())
	return 0
}

func sockAt(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func TestPort0KeepsItsPortAcrossReloads(t *testing.T) {
	t.Parallel()
	for _, bind := range []string{"ipv4/127.0.0.1", "dual/localhost", "dual/"} {
		t.Run(bind, func(t *testing.T) {
			t.Parallel()
			sockNetwork(t)
			s := testcaddy.Start(t, sockConfig(sockSite(0, bind, "v0")))
			port := sockPort(t, s, 1)
			before := sockStates(t, s, port)
			for i := 1; i <= 10; i++ {
				value := "v" + strconv.Itoa(i)
				sockReload(t, s, sockSite(0, bind, value))
				sockServes(t, "tcp", sockAt(port), value)
				if bind != "ipv4/127.0.0.1" {
					sockServes(t, "tcp", "[::1]:"+strconv.Itoa(port), value)
				}
			}
			sockRefused(t, s, sockSite(0, bind, "late")+sockSite(port, "ipv4/192.0.2.1", "x"), "192.0.2.1")
			sockServes(t, "tcp", sockAt(port), "v10")
			if n := sockLogged(s, "listening"); n != len(before) {
				t.Errorf("the server began to listen %d times, on %d sockets", n, len(before))
			}
			for _, now := range sockStates(t, s, port) {
				if !sockKnown(before, now.inode) {
					t.Errorf("there is another socket: %+v, before %+v", now, before)
				}
			}
		})
	}
}

func sockKnown(states []sockState, inode uint64) bool {
	for _, state := range states {
		if state.inode == inode {
			return true
		}
	}
	return false
}

func TestFallbackTakesTheNextFreePortAndKeepsIt(t *testing.T) {
	t.Parallel()
	sockNetwork(t)
	for _, port := range []int{8080, 8081} {
		testcaddy.Start(t, sockConfig(sockSite(port, "ipv4/127.0.0.1", "other")))
	}
	const bind = "ipv4/127.0.0.1?fallback=8081-8083"
	s := testcaddy.Start(t, sockConfig(sockSite(8080, bind, "v0")))
	sockServes(t, "tcp", sockAt(8082), "v0")
	before := sockOne(t, s, 8082)
	for i := 1; i <= 5; i++ {
		value := "v" + strconv.Itoa(i)
		sockReload(t, s, sockSite(8080, bind, value))
		sockServes(t, "tcp", sockAt(8082), value)
	}
	if now := sockOne(t, s, 8082); now.inode != before.inode {
		t.Error("there is another socket")
	}
	if n := sockLogged(s, "port is taken"); n != 1 {
		t.Errorf("the log says %d times that the port is taken", n)
	}
	for _, e := range s.Log() {
		if e.Msg == "port is taken, listening on another" {
			if port, _ := e.Fields["port"].(float64); port != 8082 {
				t.Errorf("the log names the port %v: %s", port, e.Raw)
			}
		}
	}

	// another of the same range takes what is left, and then there is nothing
	third := testcaddy.Start(t, sockConfig(sockSite(8080, bind, "third")))
	sockServes(t, "tcp", sockAt(8083), "third")
	_, err := testcaddy.TryStart(t, sockConfig(sockSite(8080, bind, "x")))
	if err == nil {
		t.Fatal("a server started though all ports are taken")
	}
	for _, text := range []string{"all ports of fallback=8081-8083 are taken too", "127.0.0.1:8080", "in use by " + sockName(t)} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is missing in: %v", text, err)
		}
	}

	// a port that becomes free is none that a running site moves to
	third.Stop()
	sockReload(t, s, sockSite(8080, bind, "v6"))
	sockServes(t, "tcp", sockAt(8082), "v6")
}
