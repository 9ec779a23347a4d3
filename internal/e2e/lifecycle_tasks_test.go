package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// lifeLiveSets asks how many configurations have background goroutines, and
// how many have had at the same time.
func lifeLiveSets(t *testing.T, s *testcaddy.Server) (live, most int) {
	t.Helper()
	var sets struct{ Live, Most int }
	if err := json.Unmarshal([]byte(lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/sets"))), &sets); err != nil {
		t.Fatal(err)
	}
	return sets.Live, sets.Most
}

// lifeOnlyTasksOf checks, by the book, that the goroutines of the given
// configuration run and no others.
func lifeOnlyTasksOf(t *testing.T, s *testcaddy.Server, value string, tasks int) {
	t.Helper()
	testcaddy.Eventually(t, fmt.Sprintf("%d goroutines of %s", tasks, value), func() bool {
		return lifeCount(t, s.Dir, "start "+value) == tasks
	})
	running := make(map[string]int)
	for _, line := range lifeBook(t, s.Dir) {
		if v, ok := strings.CutPrefix(line, "start "); ok {
			running[v]++
		} else if v, ok := strings.CutPrefix(line, "stop "); ok {
			running[v]--
		} else if strings.HasPrefix(line, "error") {
			t.Error(line)
		}
	}
	for v, n := range running {
		if v != value && n != 0 || v == value && n != tasks {
			t.Errorf("%d background goroutines of %s run, that of %s should", n, v, value)
		}
	}
	if live, most := lifeLiveSets(t, s); live != 1 || most != 1 {
		t.Errorf("%d configurations have background goroutines, at most %d had; want 1 and 1", live, most)
	}
}

func TestOneConfigurationHasBackgroundGoroutines(t *testing.T) {
	t.Parallel()
	const tasks = 3
	config := func(i int) testcaddy.Config { return lifeApp(strconv.Itoa(i), "tasks 3", "linger 30ms") }
	s := testcaddy.Start(t, config(0))
	for i := 1; i <= 50; i++ {
		lifeReload(t, s, config(i))
		if i%3 == 0 { // others are replaced while theirs are about to start
			lifeOnlyTasksOf(t, s, strconv.Itoa(i), tasks)
		}
	}
	lifeOnlyTasksOf(t, s, "50", tasks)
	if count := lifeCount(t, s.Dir, "start 48"); count != tasks {
		t.Errorf("%d goroutines of a configuration started, want %d", count, tasks)
	}
	s.Stop()
	if count := lifeCount(t, s.Dir, "stop 50"); count != tasks {
		t.Errorf("%d of %d goroutines had returned at exit", count, tasks)
	}
}

// lifeNeverStarted waits until a configuration that failed is released, and
// checks that it had no goroutine and that another one goes on undisturbed.
func lifeNeverStarted(t *testing.T, s *testcaddy.Server, failed, current string, tasks int) {
	t.Helper()
	lifeAwait(t, s.Dir, "release "+failed+" last")
	if n := lifeCount(t, s.Dir, "start "+failed); n != 0 {
		t.Errorf("%d goroutines started for a configuration that failed", n)
	}
	if n := lifeCount(t, s.Dir, "stop "+current); n != 0 {
		t.Errorf("%d goroutines of the running configuration stopped when another one failed", n)
	}
	lifeOnlyTasksOf(t, s, current, tasks)
	testcaddy.Eventually(t, "the running configuration to answer", func() bool {
		_, body, _ := lifeTry(testcaddy.Client(t, "http"), s.HTTP("/value"))
		return body == current
	})
}

func TestNoBackgroundGoroutineStartsIfAnotherAppFailsToBuild(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("good", "tasks 2"))
	for i := range 10 {
		bad := "bad" + strconv.Itoa(i)
		config := testcaddy.Config{Sites: "http://localhost:$HTTP {\n" +
			"handle /a/* {\n" + lifeDirective(bad, "tasks 2") + "}\nhandle {\n" +
			"gin hello {\n config {\n fail_build true\n }\n }\n}\n}"}.Strict()
		lifeRefused(t, s, config, "hello", "fail_build is set")
		lifeNeverStarted(t, s, bad, "good", 2)
	}
}

func TestNoBackgroundGoroutineStartsIfAnAddressIsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	s := testcaddy.Start(t, lifeApp("good", "tasks 2"))
	for i := range 10 { // apps start in random order
		bad := "bad" + strconv.Itoa(i)
		config := lifeApp(bad, "tasks 2")
		config.Sites += "http://" + taken.Addr().String() + " {\n\tbind 127.0.0.1\n\trespond ok\n}\n"
		lifeRefused(t, s, config, taken.Addr().String())
		lifeNeverStarted(t, s, bad, "good", 2)
	}
}

func TestNoBackgroundGoroutineStartsIfAConfigurationFailsAfterItsStart(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("good", "tasks 2"))
	for i := range 5 {
		bad := "bad" + strconv.Itoa(i)
		lifeLoadLateFailure(t, s, lifeApp(bad, "tasks 2"), false)
		lifeNeverStarted(t, s, bad, "good", 2)
	}
	// and the next one is not held up by them
	lifeReload(t, s, lifeApp("better", "tasks 2"))
	lifeOnlyTasksOf(t, s, "better", 2)
}

// Nothing holds the goroutines up here but that their configuration is not
// the current one.
func TestNoBackgroundGoroutineStartsBeforeItsConfigurationIsCurrent(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("good"))
	lifeLoadLateFailure(t, s, lifeApp("bad", "tasks 2"), true)
	lifeAwait(t, s.Dir, "release bad last")
	if n := lifeCount(t, s.Dir, "start bad"); n != 0 {
		t.Errorf("%d goroutines started for a configuration that failed", n)
	}
	lifeReload(t, s, lifeApp("better", "tasks 2"))
	lifeOnlyTasksOf(t, s, "better", 2)
}

func TestGoroutinesThatDoNotReturnHoldTheNextOnesUpForAWhileOnly(t *testing.T) {
	t.Parallel()
	config := func(value, linger string) testcaddy.Config {
		c := lifeApp(value, "tasks 1", "linger "+linger)
		c.Global += "\tgrace_period 1s\n"
		return c
	}
	s := testcaddy.Start(t, config("1", "10m"))
	lifeAwait(t, s.Dir, "start 1")
	lifeReload(t, s, config("2", "0s"))
	lifeReload(t, s, config("3", "0s"))
	lifeAwait(t, s.Dir, "start 3")
	if !s.WaitLog(func(e testcaddy.Entry) bool {
		return e.Level == "warn" && strings.Contains(e.Msg, "background goroutines beside those of an older configuration")
	}) {
		t.Error("the log does not tell")
	}
	if n := lifeCount(t, s.Dir, "start 2"); n != 0 {
		t.Error("goroutines started for a configuration that was replaced while it waited")
	}
	if n := lifeCount(t, s.Dir, "release 1 first"); n != 0 {
		t.Error("a configuration was released under its goroutine")
	}
}
