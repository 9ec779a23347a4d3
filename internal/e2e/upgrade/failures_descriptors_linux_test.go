package upgrade

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy/fault"
)

// kept is a connection whose client asks from time to time.
type kept struct {
	conn net.Conn
	r    *bufio.Reader
	over bool // the server has said that it closes it
}

// connect opens connections, each of which has had an answer.
func (s *service) connect(n int) []*kept {
	s.t.Helper()
	conns := make([]*kept, n)
	for i := range conns {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		conns[i] = &kept{conn: conn, r: bufio.NewReader(conn)}
		if _, err := conns[i].ask(); err != nil {
			s.t.Fatalf("connection %d: %v", i, err)
		}
	}
	return conns
}

// ask asks who answers.
func (k *kept) ask() (process, error) {
	var p process
	if _, err := io.WriteString(k.conn, "GET /process HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return p, err
	}
	resp, err := http.ReadResponse(k.r, nil)
	if err != nil {
		return p, err
	}
	defer func() { _ = resp.Body.Close() }()
	k.over = resp.Close
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("got %s", resp.Status)
	}
	return p, json.NewDecoder(resp.Body).Decode(&p)
}

// askAll asks over all connections that are open, and counts the answers of each
// process.
func (s *service) askAll(conns []*kept, answers map[int]int) {
	s.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < len(conns); i += 8 {
				if conns[i].over {
					continue
				}
				p, err := conns[i].ask()
				if err != nil {
					s.t.Errorf("connection %d: %v", i, err)
					conns[i].over = true
				}
				mu.Lock()
				answers[p.PID]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// A successor that may not have as many descriptors as there are connections takes
// as many as it can; the old process answers the others.
func TestUpgradeFewDescriptors(t *testing.T) {
	t.Parallel()
	s := start(t, config{gin: "upgrade {\nprobation 100ms\ndrain 5m\n}"})
	const n = 2000
	conns := s.connect(n)
	pid := s.onlyProcess()
	s.deploy(fault.FewDescriptors + " 1000")
	result := s.begin()
	s.awaitText(0, "the new process has taken over")
	answers := make(map[int]int)
	var got outcome
	for ended := false; !ended; {
		s.askAll(conns, answers) // one that is to move after its answer, and cannot, ends with the next
		select {
		case got = <-result:
			ended = true
		default:
		}
	}
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	r := got.steps[len(got.steps)-1].Result
	t.Logf("%+v; answers of %d and others: %v", r, pid, answers)
	if answers[pid] == 0 || answers[r.NewPID] == 0 || len(answers) != 2 {
		t.Errorf("got answers %v, want some of %d and some of %d", answers, pid, r.NewPID)
	}
	if r.Moved < n/4 || r.Moved+r.Drained < n || r.ClosedByLimit != 0 {
		t.Errorf("got %+v, want many of %d moved and all others drained", r, n)
	}
	for _, k := range conns {
		_ = k.conn.Close()
	}
	if now := s.onlyProcess(); now != r.NewPID {
		t.Errorf("process %d is left, want %d", now, r.NewPID)
	}
	s.unharmed(r.NewPID)
}

// A process that has no descriptors left for what it has to hand over says so, and
// goes on.
func TestUpgradeNoDescriptors(t *testing.T) {
	t.Parallel()
	const limit = 200
	s := start(t, config{wrap: []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, limit)}})
	l := newConnected(t, s)
	admin := s.adminClient(true)
	post := func() (string, error) {
		resp, err := admin.Post(s.adminURL("/gin/upgrade"), "", nil)
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	pid := s.onlyProcess()
	resp, err := admin.Get(s.adminURL("/gin/health/live")) // opens the connection
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	var conns []*kept
	for descriptorsOf(pid) < limit-2 {
		conns = append(conns, s.connect(1)...)
	}
	s.deploy("")
	text, err := post()
	if err != nil || !strings.Contains(text, "too many open files") {
		t.Errorf("got %s and %v", text, err)
	}
	t.Log(text)
	for _, k := range conns {
		if p, err := k.ask(); err != nil || p.PID != pid {
			t.Fatalf("got %+v and %v, want process %d", p, err, pid)
		}
		_ = k.conn.Close()
	}
	s.eventually("there are descriptors again", func() bool { return descriptorsOf(pid) < limit/2 })
	s.unharmed(pid)
	l.finish()
}
