package hello

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/ginbridgetest"
)

// serve runs the app, without background goroutines unless they are asked for,
// and returns its address.
func serve(t *testing.T, change func(*Config)) string {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Workers, cfg.SharedKey = 0, t.Name()
	if change != nil {
		change(&cfg)
	}
	return ginbridgetest.New(t, "hello", cfg).Server().URL
}

// get returns the status, the header and the body of an answer.
func get(t *testing.T, url string) (int, http.Header, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(body)
}

func TestAnswers(t *testing.T) {
	url := serve(t, func(cfg *Config) { cfg.Greeting = "100% <b>hello</b>" })
	tests := []struct {
		path   string
		status int
		body   string // contained in the answer
	}{
		{"/", 200, "<title>100% &lt;b&gt;hello"},
		{"/", 200, "curl &#39;" + url + "/ping&#39;"},
		{"/ping", 200, `{"message":"pong"}`},
		{"/greeting", 200, "100% <b>hello</b>"},
		{"/config", 200, `"interval":"1s"`},
		{"/users/42", 200, `{"id":"42"}`},
		{"/whoami", 200, `"client_ip":"127.0.0.1"`},
		{"/whoami", 200, `"local_addr":"127.0.0.1:`},
		{"/page?name=%3Cyou%3E", 200, "&lt;you&gt;"},
		{"/static/hello.txt", 200, "embedded file"},
		{"/static/", 404, "no such file"},
		{"/static/none.css", 404, "no such file"},
		{"/slow?d=10ms", 200, `"d":"10ms"`},
		{"/slow?d=61s", 400, "d is "},
		{"/events?n=-1", 400, "n is "},
		{"/events?n=x", 400, "n is "},
		{"/events?interval=1", 400, "interval is "},
		{"/events?interval=1us", 400, "interval is "},
		{"/bytes?n=1073741825", 400, "n is "},
		{"/fail?status=200", 400, "status is "},
		{"/fail?status=502", 502, ""},
		{"/hints", 200, "early hints"},
		{"/hijack", 200, "hijacked"},
		{"/goroutines", 200, `"workers":0`},
		{"/shared", 200, `"opened":`},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			status, _, body := get(t, url+tt.path)
			if status != tt.status || !strings.Contains(body, tt.body) {
				t.Errorf("got %d %s, want %d with %s", status, body, tt.status, tt.body)
			}
		})
	}
}

func TestStaticTypes(t *testing.T) {
	url := serve(t, nil)
	for name, want := range map[string]string{
		"app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml", "hello.txt": "text/plain",
	} {
		_, header, _ := get(t, url+"/static/"+name)
		if got := header.Get("Content-Type"); !strings.HasPrefix(got, want) {
			t.Errorf("%s has type %s, want %s", name, got, want)
		}
	}
}

func TestCounter(t *testing.T) {
	url := serve(t, nil)
	visit := func(client *http.Client) (body string, cookies []*http.Cookie) {
		t.Helper()
		res, err := client.Get(url + "/counter")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		b, _ := io.ReadAll(res.Body)
		return string(b), res.Cookies()
	}
	jar, _ := cookiejar.New(nil)
	regular := &http.Client{Jar: jar}
	_, cookies := visit(regular)
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode ||
		cookies[0].Path != "/" || cookies[0].Secure {
		t.Errorf("got cookies %v", cookies)
	}
	visit(http.DefaultClient)
	if got, cookies := visit(regular); got != `{"total":3,"visits":2}` || len(cookies) != 0 {
		t.Errorf("got %s and cookies %v", got, cookies)
	}
}

func TestStoreForgets(t *testing.T) {
	s := newStore(2)
	a, _, _ := s.visit("chosen by the client")
	b, _, _ := s.visit("")
	s.visit(a)
	s.visit("") // b goes, as the one that was not seen for longest
	if id, visits, _ := s.visit(a); id != a || visits != 3 {
		t.Errorf("a has %d visits as %s, want 3", visits, id)
	}
	if id, visits, _ := s.visit(b); id == b || visits != 1 {
		t.Errorf("b has %d visits as %s, want to be new", visits, id)
	}
	if len(s.visitors) != 2 || s.recent.Len() != 2 {
		t.Errorf("store has %d, %d visitors, want 2", len(s.visitors), s.recent.Len())
	}
}
