// Package upgrade replaces the running process by one of a new binary without
// losing a request: the process starts its successor, which loads the same
// configuration, hands its listening sockets and idle connections over, and
// leaves when its last requests have ended. If anything goes wrong before the
// successor has proven itself, it is ended, and the process goes on.
//
// Both talk over a socket pair that is the successor's standard input at first,
// so that no other process can reach it. The predecessor is in charge: it says
// what is next, and the successor says when it is done or that it has failed.
package upgrade
