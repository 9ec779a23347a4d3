// Package seamless makes reloads of a configuration invisible to clients: a
// listener wrapper of Caddy that serves connections across configurations.
//
// Caddy gives each configuration an http.Server of its own, and shuts it down
// when the next one has started, which closes every connection. With the
// wrapper, that server gets a parked listener instead, on which nothing ever
// arrives. The real listener is served by a [front], which outlives
// configurations: one per address, with an http.Server whose handler passes
// each request to the Caddy server of the current configuration.
//
//	config 1:  Caddy's http.Server ── parked     member 1 ─┐
//	                                                       ├─ front ── connections
//	config 2:  Caddy's http.Server ── parked     member 2 ─┘
//
// The package knows Caddy's servers and net/http, and nothing of Gin.
//
// # Locks
//
// fronts.mu guards the fronts, their members and their epochs; it is held while
// a configuration comes or goes, and never per request. Which member is current
// is an atomic pointer.
package seamless
