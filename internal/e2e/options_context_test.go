package e2e

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestContextWithFallbackEndsWithTheRequest(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"":                            "done true, values true",
		"context_with_fallback":       "done true, values true",
		"context_with_fallback true":  "done true, values true",
		"context_with_fallback false": "done false, values false",
	} {
		t.Run(options, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, optSite("gin opt-context {\n"+options+"\n}"))
			if got := optGet(t, s, "/context"); got.body != want {
				t.Errorf("got %q, want %q", got.body, want)
			}
		})
	}
}

func TestGinContextIsCancelledWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	for _, timeout := range []string{"", "timeout 4m"} {
		t.Run(timeout, func(t *testing.T) {
			t.Parallel()
			s := testcaddy.Start(t, testcaddy.Config{Sites: "http://localhost:$HTTP, https://localhost:$HTTPS {\ntls internal\ngin opt-context {\n" + timeout + "\n}\n}"})
			for i, protocol := range testcaddy.Protocols {
				n := string('0' + rune(i))
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(protocol, "/wait"), nil)
				if err != nil {
					t.Fatal(err)
				}
				client := testcaddy.Client(t, protocol)
				left := make(chan error, 1)
				go func() {
					resp, err := client.Do(req)
					if err == nil {
						_ = resp.Body.Close()
					}
					left <- err
				}()
				after := string('1' + rune(i))
				testcaddy.Eventually(t, "the handler waits", func() bool {
					return optGet(t, s, "/waits").body == after+" begun, "+n+" cancelled"
				})
				leave()
				// over HTTP/1.1 with TLS an answer may come between the client's
				// farewell and the end of its connection; it is one of a handler
				// that was cancelled, as the count below shows
				if err := <-left; err == nil && protocol != "https" {
					t.Errorf("%s: the request was answered", protocol)
				}
				testcaddy.Eventually(t, "the handler over "+protocol+" sees the client leave", func() bool {
					return optGet(t, s, "/waits").body == after+" begun, "+after+" cancelled"
				})
			}
		})
	}
}
