package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// newApp has "caddy gin new" write an app that is built with this checkout,
// and returns its folder.
func newApp(t *testing.T, args ...string) string {
	t.Helper()
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out, code := testcaddy.Run(t, dir, append([]string{"gin", "new", "--replace", checkout}, args...)...)
	if code != 0 || !strings.Contains(out, "go mod tidy") {
		t.Fatalf("got the exit code %d:\n%s", code, out)
	}
	return filepath.Join(dir, args[len(args)-1])
}

// inModule runs a program in the folder of a module.
func inModule(t *testing.T, dir string, env []string, command ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tidyModule runs "go mod tidy", with what has been downloaded if that is
// enough.
func tidyModule(t *testing.T, dir string) {
	t.Helper()
	if _, err := inModule(t, dir, []string{"GOPROXY=off"}, "go", "mod", "tidy"); err == nil {
		return
	}
	if out, err := inModule(t, dir, nil, "go", "mod", "tidy"); err != nil {
		t.Fatalf("go mod tidy: %v\n%s", err, out)
	}
}

// What "caddy gin new" writes is formatted, passes its tests, and serves.
func TestNewAppWorks(t *testing.T) {
	t.Parallel()
	dir := newApp(t, "--module", "example.com/my-shop", "shop")
	tidyModule(t, dir)
	for _, command := range []string{
		"gofmt -l .",
		"go vet ./...",
		"go test ./...",
		"go build -o caddy .", // as "go run ." would do; it takes a while
		"./caddy validate",
		"./caddy fmt --diff",
	} {
		out, err := inModule(t, dir, nil, strings.Fields(command)...)
		if err != nil || command == "gofmt -l ." && out != "" {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	port := testcaddy.FreePort(t)
	develop(t, dir, port)
	client := testcaddy.Client(t, "http")
	answers := func(want string) {
		t.Helper()
		testcaddy.Eventually(t, "the answer "+want, func() bool {
			resp, err := client.Get(fmt.Sprintf("http://localhost:%d/hello/you", port))
			if err != nil {
				return false
			}
			body, err := io.ReadAll(resp.Body)
			return err == nil && string(body) == want
		})
	}
	answers(`{"message":"Hello, you"}`)
	replaceInFile(t, filepath.Join(dir, "Caddyfile"), "greeting Hello", "greeting Hi")
	answers(`{"message":"Hi, you"}`)
	replaceInFile(t, filepath.Join(dir, "app", "app.go"), `cfg.Greeting + ", "`, `cfg.Greeting + " there, "`)
	answers(`{"message":"Hi there, you"}`)
}

func replaceInFile(t *testing.T, file, old, text string) {
	t.Helper()
	was, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(was), old) {
		t.Fatalf("%s does not have %q: %v", file, old, err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(was), old, text)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// develop runs the loop of docs/develop.md, which builds and starts the app, on
// another port, and with its admin API on a Unix socket.
func develop(t *testing.T, dir string, port int) {
	t.Helper()
	replaceInFile(t, filepath.Join(dir, "Caddyfile"), "8080", fmt.Sprint(port))
	loop := ""
	for _, block := range fence.FindAllStringSubmatch(pages(t)["develop.md"], -1) {
		if strings.HasPrefix(block[3], "pid=\n") {
			loop = block[3]
		}
	}
	home, err := os.MkdirTemp("", "cg") // short: it is part of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	goenv, err := exec.Command("go", "env", "GOCACHE", "GOPATH", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	goes := strings.Fields(string(goenv))
	var log strings.Builder // read after Wait
	cmd := exec.Command(testcaddy.Program(t, "sh"), "-c", loop)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home,
		"CADDY_ADMIN=unix/"+home+"/admin.sock", "TMPDIR="+home, "GOWORK=off",
		"GOCACHE="+goes[0], "GOPATH="+goes[1], "GOMODCACHE="+goes[2])
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if !strings.Contains(log.String(), "shutdown complete") {
			t.Errorf("caddy did not end with the loop")
		}
		if t.Failed() {
			t.Logf("the loop printed:\n%s", log.String())
		}
	})
}

// The Go code of the page is that of the app, or of an example that is run.
func TestDevelopShowsCodeThatIsTested(t *testing.T) {
	t.Parallel()
	code := readTree(t, newApp(t, "--module", "example.com/shop", "shop"))
	example, err := os.ReadFile("../../ginbridgetest/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	code = strings.Join(strings.Fields(code+string(example)), " ")
	found := 0
	for _, block := range fence.FindAllStringSubmatch(pages(t)["develop.md"], -1) {
		if block[2] != "go" {
			continue
		}
		found++
		if !strings.Contains(code, strings.Join(strings.Fields(block[3]), " ")) {
			t.Errorf("nothing has this code:\n%s", block[3])
		}
	}
	if found < 6 {
		t.Errorf("found only %d examples", found)
	}
}

func TestNewAppLosesNothing(t *testing.T) {
	t.Parallel()
	dir := newApp(t, "shop")
	before := readTree(t, dir)
	out, code := testcaddy.Run(t, filepath.Dir(dir), "gin", "new", "shop")
	if code != 1 || !strings.Contains(out, "the folder shop is not empty") {
		t.Errorf("got the exit code %d:\n%s", code, out)
	}
	if after := readTree(t, dir); after != before {
		t.Errorf("the folder had\n%s\nand has\n%s", before, after)
	}
	file := filepath.Join(filepath.Dir(dir), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := testcaddy.Run(t, filepath.Dir(dir), "gin", "new", "file"); code != 1 || strings.Contains(out, "go mod tidy") {
		t.Errorf("got the exit code %d for a file:\n%s", code, out)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("the file has %q, %v", text, err)
	}
	empty := filepath.Join(filepath.Dir(dir), "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, code := testcaddy.Run(t, filepath.Dir(dir), "gin", "new", "empty"); code != 0 {
		t.Errorf("got the exit code %d for an empty folder:\n%s", code, out)
	}
}

// readTree returns the names and the contents of a folder's files.
func readTree(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s\n%s\n", path, text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestNewAppRefuses(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{
		"":                         "want one name, not 0",
		"shop cart":                "want one name, not 2",
		"Shop":                     `name \"Shop\": use lower-case letters`,
		"1shop":                    `name \"1shop\": use lower-case letters`,
		"../shop":                  `name \"../shop\": use lower-case letters`,
		"internal":                 `\"internal\" cannot be the path of a Go module; set one such as --module example.com/internal`,
		"--module a//b shop":       `\"a//b\" cannot be the path of a Go module`,
		"--replace . shop":         "go.mod: no such file or directory",
		"--replace no/folder shop": "no such file or directory",
		"--template x shop":        "unknown flag: --template",
	} {
		dir := t.TempDir()
		out, code := testcaddy.Run(t, dir, append([]string{"gin", "new"}, strings.Fields(command)...)...)
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("gin new %s: got the exit code %d and\n%swant %s", command, code, out, want)
		}
		if tree := readTree(t, dir); tree != "" {
			t.Errorf("gin new %s: wrote\n%s", command, tree)
		}
	}
}
