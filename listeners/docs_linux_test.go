package listeners

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Every network and option stands in the table of docs/listeners.md, and every
// example there can be parsed.
func TestListenersAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/listeners.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range Networks {
		if !strings.Contains(string(page), "| `"+network+"/") {
			t.Errorf("network %s has no row", network)
		}
	}
	for _, name := range OptionNames("") {
		if !regexp.MustCompile("(?m)^\\|.*`" + name + "[=`\\[]").Match(page) {
			t.Errorf("option %s has no row", name)
		}
	}
	examples := regexp.MustCompile("`bind ([^`]+)`").FindAllStringSubmatch(string(page), -1)
	if len(examples) < 15 {
		t.Errorf("only %d examples", len(examples))
	}
	used := make(map[string]bool)
	for _, example := range examples {
		na, err := caddy.ParseNetworkAddressWithDefaults(example[1], "tcp", 80)
		if err != nil {
			t.Errorf("%s: %v", example[1], err)
			continue
		}
		address, err := Parse(na.Network, na.Host)
		if err != nil {
			t.Error(err)
			continue
		}
		for name := range address.Options {
			used[name] = true
		}
	}
	for _, name := range OptionNames("") {
		if !used[name] && name != "use" {
			t.Errorf("option %s has no example", name)
		}
	}
}
