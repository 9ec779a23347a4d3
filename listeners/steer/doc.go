// Package steer decides which of two processes gets what arrives at an address
// that both have a socket of their own for. It is for sockets that cannot be
// handed over by descriptor, while a process is replaced by its successor.
//
// Sockets of one user that were bound to one address with SO_REUSEPORT are a
// group of the kernel's. It numbers them in the order in which they joined,
// from 0, and by default chooses one by the hash of the packet's addresses. A
// classic BPF program on the group chooses instead: [Group] has one for
// listening TCP sockets, [PacketGroup] one for UDP sockets that carry QUIC with marked
// connection IDs, [Held] one for other UDP sockets.
//
// # What a program does when sockets come and go
//
// The program belongs to the group, not to the socket or process it was
// attached through: it holds until another takes its place, or the last socket
// of the group is closed. If it chooses a number that no socket has, the
// kernel goes by the hash: a single socket gets everything, whatever the
// program says. When a socket is closed, the one that joined last takes its
// number.
//
//	the group      after          gets new connections
//	P1             Keep or Give   P1
//	P1 P2          Keep           P1
//	P1 P2          Give           P2
//	P1 (P2 died)   Give           P1
//	P2 (P1 left)   either         P2
//	P2 P3          Give of P1     P3, as soon as it listens
//
// So a process calls Keep before it starts its successor, whatever was left
// attached; and the process before it must have closed its socket by then, as
// Keep chooses the oldest.
//
// On systems other than Linux the functions fail with an error that wraps
// [errors.ErrUnsupported].
//
// The package knows sockets and the layout of QUIC's headers, and nothing of
// HTTP or configurations.
package steer
