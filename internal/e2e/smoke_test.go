package e2e

import (
	"io"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestPingOverEveryProtocol(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, testcaddy.Config{Sites: `
http://localhost:$HTTP, https://localhost:$HTTPS {
	tls internal
	gin hello
}`})
	for _, protocol := range testcaddy.Protocols {
		resp, err := testcaddy.Client(t, protocol).Get(s.URL(protocol, "/ping"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || string(body) != `{"message":"pong"}` {
			t.Errorf("%s: got %q, %v", protocol, body, err)
		}
		want := map[string]int{"http": 1, "https": 1, "h2": 2, "h3": 3}[protocol]
		if resp.ProtoMajor != want {
			t.Errorf("%s: answered by %s", protocol, resp.Proto)
		}
	}
}
