package caddygin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// FuzzAdmin has the admin API answer whatever comes: with JSON, or with an
// error that is the caller's.
func FuzzAdmin(f *testing.F) {
	for _, e := range endpoints {
		f.Add(e.method, strings.Replace(e.path, "*", "1", 1), "", "")
	}
	f.Add("POST", "/gin/generations/%2e%2e/close", "", "{}")
	f.Add("GET", "/gin/routes", "app=%00", "")
	f.Add("GET", "/gin/check", "address=ipv4/127.0.0.1%3Fbacklog=9:80", "")
	f.Add("GET", "/gin/check", "address=unixsock//nowhere/x.sock|0660&h3=true", "")
	f.Add("GET", "/gin/check", "address=[::]:1-70000&port=1", "")
	f.Add("HEAD", "/gin//apps", "a=b;c", strings.Repeat("x", maxBody+1))
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		done, cancel := context.WithCancel(t.Context())
		cancel() // no name server is asked
		r := (&http.Request{
			Method: method, URL: &url.URL{Path: path, RawQuery: query}, Body: http.NoBody, Header: http.Header{},
		}).WithContext(done)
		if body != "" {
			r.Body = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)).Body
		}
		w := httptest.NewRecorder()
		err := serveAdmin(w, r)
		if err == nil {
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("answered %q", w.Body)
			}
			return
		}
		var answer caddy.APIError
		if !errors.As(err, &answer) || answer.HTTPStatus < 400 || answer.HTTPStatus > 499 {
			t.Fatalf("error %v", err)
		}
		if text := answer.Err.Error(); strings.ContainsAny(text, "\n\x00") {
			t.Errorf("the error is %q", text)
		}
	})
}
