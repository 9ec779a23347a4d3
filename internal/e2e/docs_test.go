package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// fence finds the fenced blocks of a Markdown page: language and text.
var fence = regexp.MustCompile("(?m)^( *)```([a-z]+)\n((?s:.*?))^ *```$")

// pages returns README.md and the pages of docs/ by name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(file)] = string(text)
	}
	return texts
}

func TestCaddyfilesInTheDocsAreValid(t *testing.T) {
	t.Parallel()
	found := 0
	for page, text := range pages(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[2] != "caddyfile" {
				continue
			}
			found++
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(block[3]), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, code := testcaddy.Run(t, dir, "validate"); code != 0 {
				t.Errorf("%s: this is not valid:\n%s\n%s", page, block[3], out)
			}
			if out, code := testcaddy.Run(t, dir, "fmt", "--diff", "Caddyfile"); code != 0 {
				t.Errorf("%s: this is not formatted:\n%s", page, out)
			}
		}
	}
	if found < 6 {
		t.Errorf("found only %d examples", found)
	}
}

// The lines that move an app over must compile as they stand.
func TestFirstExampleOfTheReadmeCompiles(t *testing.T) {
	t.Parallel()
	for _, block := range fence.FindAllStringSubmatch(pages(t)["README.md"], -1) {
		if block[2] != "go" {
			continue
		}
		file := filepath.Join(t.TempDir(), "shop.go")
		source := block[3] + "\nfunc getOrder(*gin.Context) {}\n"
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	t.Error("no example found")
}

// Links between the pages, and to files of the repository, lead somewhere.
func TestLinksInTheDocsLeadSomewhere(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for page, text := range pages(t) {
		base := "../../docs"
		if page == "README.md" {
			base = "../.."
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(base, m[1])); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	}
}

// Caddyfile.example, on other ports, serves the demonstration over all
// protocols, and runs as it stands without rights.
func TestExampleCaddyfileServes(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile("../../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	// the harness brings global options of its own
	_, sites, found := strings.Cut(string(example), "\n}\n")
	if !found {
		t.Fatal("Caddyfile.example has no global options")
	}
	sites = strings.NewReplacer("8080", "$HTTP", "8443", "$HTTPS").Replace(sites)
	s := testcaddy.Start(t, testcaddy.Config{Global: "auto_https disable_redirects", Sites: sites, Exclusive: true})
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Dir, "caddy-gin.sock"))
	}}}
	if resp, err := socket.Get("http://unix/ping"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("over the Unix socket: %v, %v", resp, err)
	}
	for _, protocol := range testcaddy.Protocols {
		client := testcaddy.Client(t, protocol)
		resp, err := client.Get(s.URL(protocol, "/greeting"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if !strings.Contains(string(body), "Caddy") {
			t.Errorf("%s: got %q", protocol, body)
		}
		resp, err = client.Get(s.URL(protocol, "/fail?status=503"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ = io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusServiceUnavailable || !strings.HasPrefix(string(body), "503 Service Unavailable") {
			t.Errorf("%s: got %s %q", protocol, resp.Status, body)
		}
	}
}

// The demonstration in a container is reached from outside: the sed of the
// Dockerfile has to find the lines that bind it to loopback.
func TestContainerOpensTheDemonstration(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("../../xcaddy.Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	script := regexp.MustCompile(`RUN sed '([^']+)' "\$CADDYFILE"`).FindSubmatch(file)
	if script == nil {
		t.Fatal("the Dockerfile has no sed")
	}
	out, err := exec.Command("sed", string(script[1]), "../../Caddyfile.example").Output()
	if err != nil {
		t.Fatal(err)
	}
	binds := regexp.MustCompile(`(?m)^\s*bind (.*)$`).FindAllStringSubmatch(string(out), -1)
	var got []string
	for _, b := range binds {
		got = append(got, b[1])
	}
	if want := "ipv4/ dual/ unixsock/caddy-gin.sock|0660"; strings.Join(got, " ") != want {
		t.Errorf("it binds %q, want %s", got, want)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), out, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := testcaddy.Run(t, dir, "validate"); code != 0 {
		t.Errorf("not valid: %s", out)
	}
}
