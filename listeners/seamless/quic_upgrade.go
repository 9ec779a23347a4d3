package seamless

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/caddy-gin/caddy-gin/listeners/steer"
)

// mark is that of the connection IDs of this process.
var mark steer.Mark

// SetMark sets the mark of the connection IDs of this process, which is 0 by
// default: a successor takes [steer.Mark.Next] of its predecessor's. It must be
// called before a configuration is loaded.
func SetMark(m steer.Mark) { mark = m }

// Mark returns the mark of the connection IDs of this process.
func Mark() steer.Mark { return mark }

// KeepPackets has this process get all new HTTP/3 connections of its fronts, and
// makes room for a successor's sockets: see [steer.PacketGroup.Keep]. If it
// fails for a front, it undoes nothing; DetachPackets does.
func KeepPackets() error { return fronts.steer((*steer.PacketGroup).Keep) }

// GivePackets has the successor get all new HTTP/3 connections of the fronts of
// this process: see [steer.PacketGroup.Give].
func GivePackets() error { return fronts.steer((*steer.PacketGroup).Give) }

// DetachPackets undoes KeepPackets and GivePackets, when the successor is gone.
func DetachPackets() error { return fronts.steer((*steer.PacketGroup).Detach) }

// PacketAddrs returns the local addresses of the sockets of HTTP/3 of all fronts.
func PacketAddrs() (addrs []string) {
	for _, socket := range fronts.quicSockets() {
		addrs = append(addrs, socket.conn.LocalAddr().String())
	}
	return addrs
}

// steer does something with the sockets of all fronts.
func (r *registry) steer(do func(*steer.PacketGroup) error) error {
	var errs []error
	for _, socket := range r.quicSockets() {
		if socket.group != nil {
			errs = append(errs, do(socket.group))
		}
	}
	return errors.Join(errs...)
}

func (r *registry) quicSockets() []*quicSocket {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*quicSocket
	for _, f := range r.fronts {
		if f.quic != nil {
			list = append(list, f.quic)
		}
	}
	return list
}

// DrainHTTP3 ends the HTTP/3 connections of this process after their requests,
// or when the context is done, and closes the sockets, so that the successor is
// the only one on their addresses. New connections must go to the successor
// already. It must not be called while a configuration is loaded.
func DrainHTTP3(ctx context.Context) {
	fronts.mu.Lock()
	for _, f := range fronts.fronts {
		for _, e := range f.epochs {
			go func() { _ = e.http3().Shutdown(ctx) }()
		}
	}
	fronts.mu.Unlock()
	var wg sync.WaitGroup
	for _, socket := range fronts.quicSockets() {
		wg.Go(func() { socket.drain(ctx) })
	}
	wg.Wait()
}

// lull is how long a socket must have been without connections until it is
// closed: the first packets of some may still lie in it, or in the queues of
// package quic.
const lull = time.Second / 2

// drain waits until a socket has no connections, or a second after the context
// is done, and closes it. It takes connections until then: closing the listener
// would refuse those whose handshake has begun.
func (s *quicSocket) drain(ctx context.Context) {
	late := make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(parting, func() { close(late) }) })()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	busy := time.Now() // when it last had connections, or may have had
	for waiting := true; waiting && time.Since(busy) < lull; {
		select {
		case <-tick.C:
			if s.live.Load() > 0 {
				busy = time.Now()
			}
		case <-late:
			waiting = false
		}
	}
	_ = s.listener.Close()
	_ = s.transport.Close()
	_ = s.conn.Close()
}
