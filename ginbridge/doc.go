// Package ginbridge is where Gin meets Caddy: it registers Gin apps, builds
// their engines when Caddy loads a configuration, and serves each request
// through one adapter that gives a Gin handler everything it expects of a
// net/http server.
//
// An app author needs [Register] (or [RegisterEngine] for an engine that
// somebody else builds), the methods of [App], [Shared], and the request
// helpers such as [Draining] and [Fail]. The rest ([Generation], [Mount]) is
// for the Caddy modules that put an app into a configuration.
//
// The package knows Gin, net/http and Caddy's module system. It knows nothing
// of Caddyfiles and nothing of sockets.
package ginbridge
