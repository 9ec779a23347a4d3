package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// ordersServers is what keeps connections across reloads. Without it, requests
// that fail at a reload are not held against the server; lost, double and old
// data are.
const ordersServers = "\tservers {\n\t\tlistener_wrappers {\n\t\t\tseamless\n\t\t}\n\t}\n"

// ordersClients is the number of clients that write; each has a watcher that
// reads, and each of both has a connection of its own.
const ordersClients = 4

// ordersApp is a configuration with the app on a database, and further lines
// of the site. The app is there twice, so that two workers run, and what is
// written through one mount is read through the other.
func ordersApp(database, interval string, site ...string) testcaddy.Config {
	app := "gin orders {\nconfig {\ndatabase \"" + filepath.ToSlash(database) + "\"\nship_interval " + interval + "\n}\n}\n"
	return testcaddy.Config{
		Exclusive: true,
		Global:    ordersServers,
		Sites: "http://localhost:$HTTP {\nbind dual/localhost\n" + strings.Join(site, "\n") +
			"\nhandle_path /second/* {\n" + app + "}\nhandle {\n" + app + "}\n}\n",
	}
}

// ordersReload is the reload number i, every fourth of which fails.
func ordersReload(t *testing.T, s *testcaddy.Server, database string, i int) {
	t.Helper()
	good := func(site ...string) testcaddy.Config {
		return ordersApp(database, fmt.Sprintf("%dms", 50+i%3*25), site...)
	}
	if i%4 != 0 {
		lifeReload(t, s, good(fmt.Sprintf("header Reload %d", i)))
		return
	}
	life := "handle_path /life/* {\ngin life-main {\nconfig {\ndir $DIR\nvalue bad\n%s\n}\n}\n}"
	switch i / 4 % 6 {
	case 0:
		lifeRefused(t, s, good("gin nowhere"), `"nowhere"`)
	case 1:
		lifeRefused(t, s, good(fmt.Sprintf(life, "fail panic")), "the build panics for bad")
	case 2:
		lifeRefused(t, s, good(fmt.Sprintf(life, "fail error")), "the build fails for bad")
	case 3:
		lifeRefused(t, s, ordersApp(filepath.Join(database, "none", "orders.db"), "1s"), "folder of database")
	case 4:
		lifeRefused(t, s, ordersApp(database, "1ns"), "ship_interval is 1ns")
	case 5:
		lifeLoadLateFailure(t, s, good(), false) // after all of it has started
	}
}

func TestOrdersSurviveReloadsAndTheEnd(t *testing.T) {
	t.Parallel()
	reloads := 200
	if lifeRace || testing.Short() {
		reloads = 40
	}
	database := filepath.Join(t.TempDir(), "orders.db")
	s := testcaddy.Start(t, ordersApp(database, "50ms"))
	load := ordersStartLoad(t, s)
	load.await(1)
	start := time.Now()
	for i := 1; i <= reloads; i++ {
		ordersReload(t, s, database, i)
		load.await(2)
	}
	t.Logf("%d reloads in %v, %s", reloads, time.Since(start).Round(time.Millisecond), load)
	ordersShipmentsSeen(t, s)

	load.ending.Store(true)
	s.Signal(syscall.SIGTERM)
	load.wait()
	s.Stop()
	load.report(t)
	ordersNoErrors(t, s)
	ordersCheck(t, database, load)
}

// The process is killed in the middle of a reload.
func TestOrdersSurviveAKill(t *testing.T) {
	t.Parallel()
	kills := 5
	if testing.Short() {
		kills = 2
	}
	database := filepath.Join(t.TempDir(), "orders.db")
	for range kills {
		s := testcaddy.Start(t, ordersApp(database, "50ms"))
		load := ordersStartLoad(t, s)
		load.await(5)
		for i := 1; i <= 5; i++ {
			ordersReload(t, s, database, i)
			load.await(1)
		}
		load.ending.Store(true)
		reloaded := make(chan struct{})
		go func() {
			defer close(reloaded)
			_ = s.Reload(ordersApp(database, "20ms")) // has no answer, perhaps
		}()
		s.Signal(syscall.SIGKILL)
		<-reloaded
		load.wait()
		s.Stop()
		load.report(t)
		ordersCheck(t, database, load)
	}
}

func TestOrdersValidateLeavesNoDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "http://localhost {\n\tgin orders {\n\t\tconfig {\n\t\t\tdatabase orders.db\n\t\t}\n\t}\n}\n"
	if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := testcaddy.Run(t, dir, "validate"); code != 0 {
		t.Error(out)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "orders.db*")); len(files) > 0 {
		t.Errorf("there is %v", files)
	}
}

func TestOrdersReadmeCaddyfileIsValid(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../examples/orders/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		if block[2] != "caddyfile" {
			continue
		}
		found = true
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(block[3]), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"validate"}, {"fmt", "--diff", "Caddyfile"}} {
			if out, code := testcaddy.Run(t, dir, args...); code != 0 {
				t.Errorf("%s: %s", args[0], out)
			}
		}
	}
	if !found {
		t.Error("no Caddyfile found")
	}
}
