// Package storm makes the load of a reload storm: clients that behave in
// different ways, over each protocol, and that notice every failed request and
// every connection that the server closes.
//
// The clients retry nothing. Libraries for HTTP repeat a request when its
// connection has ended, so that their users see no failure where others would;
// here a client writes to one connection that it knows, and what becomes of that
// request is its result.
//
// If [Load.Repeats] is true, clients do what a correct client does whose server
// leaves in the way that HTTP provides for. They repeat a request that the server
// says it has not processed (a stream above the last one of a GOAWAY, or one that
// was refused or rejected) if they still have its body, and over TLS a GET that a
// connection used before did not answer at all, as Go's http.Transport does. Every
// other request of [Post] has a body that cannot be had again, and so have those of
// [Upload]; what becomes of them is counted apart. Over plaintext HTTP/1.1 clients
// still repeat nothing.
//
// The server must have these paths; those of package stormapp and of
// examples/hello will do:
//
//	GET  /greeting              Greeting(n), n being the number of the configuration
//	POST /echo                  the request body
//	GET  /bytes?n=N             N bytes, the one at offset i being i modulo 251
//	GET  /events?n=0&interval=D events named tick without end, the data being JSON with a number n: 1, 2, …
//	GET  /ws                    a WebSocket; answers end with the message
//
// A stream may end with a goodbye of the app's, which is not a failure: the
// event draining, or the close status 1001 of a WebSocket.
package storm
