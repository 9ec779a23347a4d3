// Package ginbridgetest runs a registered Gin app in a test as Caddy would run
// it: its configuration is decoded, its engine is built, its background
// goroutines run, and requests reach it through the whole handler chain of a
// Caddy server, with Caddy's own writers and errors.
//
//	func TestGreeting(t *testing.T) {
//		app := ginbridgetest.New(t, "greeter", map[string]any{"greeting": "Hello"})
//		w := httptest.NewRecorder()
//		app.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/greet/you", nil))
//		if got := w.Body.String(); got != "Hello, you" {
//			t.Errorf("got %q", got)
//		}
//	}
//
// The test imports the package that registers the app, or is part of it.
//
// An [App] is an [net/http.Handler]; [App.Server] serves it on a real
// connection, for WebSockets, event streams and whatever else needs a client.
// [App.Reload] and [App.Drain] do what a reload and the end of the process do to
// an app. At the end of the test everything is released, and a request, a
// connection or a goroutine of the app that does not end fails the test.
//
// Nothing listens on an address but [App.Server], on loopback; nothing is
// global, so tests may run in parallel. What they do have in common, as all
// configurations of a process have, are the values of [ginbridge.Shared] that
// have the same key and type, and Gin's mode, which is "test".
//
// The apps log to the log of the test, from level INFO.
package ginbridgetest
