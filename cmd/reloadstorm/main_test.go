package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// measured is a row of a report.
type measured struct {
	System    string
	Protocol  storm.Protocol
	Behaviour storm.Behaviour
	Missing   string
	Requests  int
	Reloads   int
	Failed    map[storm.Kind]int
	Errors    map[storm.Kind]string
	Closed    int `json:"closed_by_server"`
	Upgrades  int
	Strays    []string
	Processes int
}

// built is the folder that build builds in. TestMain makes and removes it.
var built string

// build builds reloadstorm, once for all tests.
var build = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(built, "reloadstorm")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building reloadstorm: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "reloadstorm"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(built)
	os.Exit(code)
}

// measure runs reloadstorm, which must not fail.
func measure(t *testing.T, args ...string) []measured {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no Unix system")
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("", "rs") // short: sockets lie below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	cmd := exec.Command(path, append([]string{"-short", "-json", "-v"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &stderr, &stdout)
	}
	var r struct{ Rows []measured }
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return r.Rows
}

func TestEverySystemIsMeasuredOrMissing(t *testing.T) {
	t.Parallel()
	rows := measure(t, "-reloads", "3", "-protocols", "http1", "-behaviours", "think,websocket")
	if want := 2 * len(systems()); len(rows) != want {
		t.Fatalf("got %d rows, want %d", len(rows), want)
	}
	for _, row := range rows {
		switch {
		case row.Missing != "":
			if strings.HasPrefix(row.System, "caddy") || row.System == "gin" {
				t.Errorf("%s is missing: %s", row.System, row.Missing)
			}
		case row.Requests == 0 || row.Reloads != 3:
			t.Errorf("%s %s: %d requests, %d reloads", row.System, row.Behaviour, row.Requests, row.Reloads)
		case row.System == "caddy-gin" && (len(row.Failed) > 0 || row.Closed > 0):
			t.Errorf("the plugin failed: %+v", row)
		}
	}
}

func TestWrongFlagsAreRefused(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"-systems=apache":      `-systems: unknown name "apache"; there are caddy-gin, caddy, gin,`,
		"-protocols=http1,spy": `-protocols: unknown name "spy"`,
		"-behaviours=":         `-behaviours: unknown name ""`,
		"-reloads=0":           "-reloads is 0, must be 1 to 100000",
		"-upgrades=-1":         "-upgrades is -1, must be 0 to 99999",
		"-for=25h":             "-for is 25h0m0s, must be 0 to 24h",
		"-interval=-1s":        "-interval is -1s, must be 0 to 1m",
		"-clients=0":           "-clients is 0, must be 1 to 4096",
		"-idle=0":              "-idle is 0, must be 1 to",
		"more":                 `unknown argument "more"`,
	} {
		if _, err := parse([]string{flag}, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", flag, err, want)
		}
	}
	o, err := parse([]string{"-short", "-idle", "7", "-behaviours", "all"}, io.Discard)
	if err != nil || o.reloads != 20 || o.clients != 4 || o.idle != 7 || !o.together || len(o.behaviours) != len(storm.Behaviours()) {
		t.Errorf("got %+v, %v", o, err)
	}
}
