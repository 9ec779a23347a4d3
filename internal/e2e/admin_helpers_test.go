package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// adminAnswer is an answer of the admin API.
type adminAnswer struct {
	*http.Response
	body string
}

// adminDo makes a request to the admin API. header has names and values.
func adminDo(t testing.TB, s *testcaddy.Server, method, path string, body io.Reader, header ...string) adminAnswer {
	t.Helper()
	client := unixClient(t, filepath.Join(s.Dir, "admin.sock"))
	defer client.CloseIdleConnections() // a reload replaces the endpoint
	req, err := http.NewRequest(method, "http://caddy"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	for i := 0; i < 5 && err != nil && body == nil; i++ { // Caddy's old server may have accepted the connection
		resp, err = client.Do(req)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return adminAnswer{resp, string(text)}
}

// adminGet decodes what a path of the admin API answers.
func adminGet[T any](t testing.TB, s *testcaddy.Server, path string) (value T) {
	t.Helper()
	a := adminDo(t, s, http.MethodGet, path, nil)
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: %s, %s", path, a.Status, a.body)
	}
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v in %s", path, err, a.body)
	}
	return value
}

// What the admin API answers. The tests have types of their own: the names of
// fields are a promise.
type (
	adminApp struct {
		Name       string          `json:"name"`
		Module     string          `json:"module"`
		Config     json.RawMessage `json:"config"`
		Generation uint64          `json:"generation"`
		Since      time.Time       `json:"since"`
		Requests   int             `json:"requests"`
		Streams    int             `json:"streams"`
		Hijacked   int             `json:"hijacked"`
		Server     string          `json:"server"`
		Listen     []string        `json:"listen"`
		Hosts      []string        `json:"hosts"`
		Path       string          `json:"path"`
		BasePath   string          `json:"base_path"`
	}
	adminRoute struct {
		App        string  `json:"app"`
		Method     string  `json:"method"`
		Pattern    string  `json:"pattern"`
		Handler    string  `json:"handler"`
		Middleware int     `json:"middleware"`
		Requests   uint64  `json:"requests"`
		Errors     uint64  `json:"errors"`
		P50        float64 `json:"p50"`
		P99        float64 `json:"p99"`
	}
	adminGeneration struct {
		ID       uint64    `json:"id"`
		PID      int       `json:"pid"`
		State    string    `json:"state"`
		Carried  int64     `json:"carried"`
		Apps     []string  `json:"apps"`
		Hash     string    `json:"hash"`
		Started  time.Time `json:"started"`
		Drained  time.Time `json:"drained"`
		Requests int       `json:"requests"`
		Streams  int       `json:"streams"`
		Hijacked int       `json:"hijacked"`
		Oldest   time.Time `json:"oldest_stream"`
		Held     struct {
			Shared     []string `json:"shared"`
			Releasers  int      `json:"releasers"`
			Goroutines int      `json:"goroutines"`
		} `json:"held"`
	}
	adminListeners struct {
		Listeners []struct {
			Network     string            `json:"network"`
			Asked       string            `json:"asked"`
			Bound       string            `json:"bound"`
			Transport   string            `json:"transport"`
			Family      string            `json:"family"`
			V6Only      bool              `json:"v6only"`
			PacketsTo   []string          `json:"packets_to"`
			Options     map[string]string `json:"options"`
			Queue       *struct{ Depth, Limit int }
			Open        int64    `json:"open"`
			Accepted    uint64   `json:"accepted"`
			MaxConn     int64    `json:"maxconn"`
			Paused      uint64   `json:"paused"`
			Owner       string   `json:"owner"`
			Group       string   `json:"group"`
			UID         int      `json:"uid"`
			GID         int      `json:"gid"`
			Mode        string   `json:"mode"`
			Shares      bool     `json:"shares"`
			Retiring    bool     `json:"retiring"`
			Generations []uint64 `json:"generations"`
			Seamless    bool     `json:"seamless"`
			Carried     int64    `json:"carried"`
		} `json:"listeners"`
		Host map[string]uint64 `json:"host"`
	}
	adminHealth struct {
		OK         bool     `json:"ok"`
		Generation uint64   `json:"generation"`
		Reasons    []string `json:"reasons"`
	}
)

// adminSite is a site with the app admin-main on sockets of its own.
func adminSite(value string) testcaddy.Config {
	app := "gin admin-main {\n\tconfig {\n\t\tvalue " + value + "\n\t\ttoken s3cr3t\n\t\tunready $DIR/unready\n\t}\n}\n"
	return testcaddy.Config{
		Global:    "servers {\n\tlistener_wrappers {\n\t\tseamless\n\t}\n}",
		Exclusive: true,
		Sites: "http://localhost:$HTTP {\n\tbind ipv4/127.0.0.1?backlog=77&maxconn=500\n\thandle_path /shop/* {\n" + app +
			"}\nhandle {\n" + app + "}\n}\n" +
			"http://localhost {\n\tbind unixsock/$DIR/app.sock|0620\n\t" + app + "}\n",
	}
}
