package e2e

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// The log says what a reload changed, and nothing of it per request.
func TestLogTellsWhatAReloadChanged(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, adminSite("v1"))
	told := func(msg string, n int) map[string]any {
		t.Helper()
		var found []testcaddy.Entry
		testcaddy.Eventually(t, msg, func() bool {
			found = nil
			for _, e := range s.Log() {
				if e.Logger == "gin" && e.Msg == msg {
					found = append(found, e)
				}
			}
			return len(found) == n
		})
		return found[n-1].Fields
	}
	list := func(fields map[string]any, key string) string {
		var texts []string
		values, _ := fields[key].([]any)
		for _, v := range values {
			texts = append(texts, v.(string))
		}
		return strings.Join(texts, " ")
	}
	tcp, unix := "tcp 127.0.0.1:"+strconv.Itoa(s.HTTPPort), "unix "+filepath.Join(s.Dir, "app.sock")
	first := told("serving", 1)
	if list(first, "apps") != "admin-main@srv0 admin-main@srv1" || list(first, "sockets") != tcp+" "+unix {
		t.Errorf("got %v", first)
	}
	seamTCP(s, "http").mustDial(t).want(t, "/value", "v1")
	seamReload(t, s, adminSite("v2"))
	if f := told("reloaded", 1); list(f, "apps_changed") != "admin-main@srv0 admin-main@srv1" || f["carried_connections"] != 1.0 ||
		f["before"] != first["generation"] || f["sockets_added"] != nil {
		t.Errorf("got %v", f)
	}
	seamReload(t, s, adminSite("v2"))
	if f := told("reloaded", 2); f["gin_unchanged"] != true || f["apps_changed"] != nil {
		t.Errorf("got %v", f)
	}
	other := adminSite("v2")
	tcpSite, _, _ := strings.Cut(other.Sites, "http://localhost {")
	other.Sites = tcpSite + "http://localhost {\n\tbind unixsock/$DIR/other.sock\n\tgin hello\n}\n"
	other.Global += "\ngin {\n\tmode debug\n}"
	seamReload(t, s, other)
	f := told("reloaded", 3)
	if list(f, "apps_added") != "hello@srv1" || list(f, "apps_removed") != "admin-main@srv1" || f["settings_changed"] != true ||
		list(f, "sockets_added") != "unix "+filepath.Join(s.Dir, "other.sock") || list(f, "sockets_removed") != unix {
		t.Errorf("got %v", f)
	}
	n := len(s.Log())
	for range 10 {
		optGet(t, s, s.HTTP("/value"))
	}
	for _, e := range s.Log()[n:] {
		if strings.HasPrefix(e.Logger, "gin") {
			t.Errorf("requests are logged: %s", e.Raw)
		}
	}
}
