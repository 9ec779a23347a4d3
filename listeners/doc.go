// Package listeners gives Caddy the networks ipv4, ipv6, dual, unixsock and
// systemd: sockets that are bound exactly as asked, that live across
// configurations, and that explain why they could not be bound.
//
// It knows Caddy's listener interface and the operating system, and nothing of
// HTTP or Gin. The way of an address through the package:
//
//	Parse        text → Address: host, options, mode     address.go, options.go
//	resolve      Address → Targets: what the kernel binds    resolve.go, target.go
//	open         Target → socket, one per kernel address        pool.go, socket*.go
//	Listen       sockets → Listener, one per configuration    listen.go, listener.go
//	Diagnose     error → one line that says what to do      diagnose.go, holder.go
//	Sockets      sockets → what is to be said of them          info.go
//
// # Sharing
//
// A socket is opened by the first configuration that asks for its address and
// closed after the last. Each configuration accepts on a duplicate of the
// descriptor of its own, so the accept queue belongs to all of them and is
// never reset by a reload. What the newest configuration says about options
// holds for the socket; if that configuration goes away, because it failed to
// load, what the one before it said holds again.
//
// # Locks
//
// The pool's mutex guards the pool, its groups and its sockets; it is held
// while a socket is opened or closed, and never while one waits for a
// connection, for a name server or for an address that comes up late.
package listeners
