package seamless

import (
	"fmt"
	"net"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// Give has a connection served that another process has accepted at the address
// with a key, one of PlainKeys. It counts as a connection of that address, and
// does not wait for its maxconn. After an error, conn is closed, which the client
// does not notice while the other process has it. Safe for concurrent use.
func Give(key string, conn net.Conn) error {
	conn = adopt(key, conn)
	for {
		m := fronts.serving(key)
		if m == nil || !m.plain() {
			_ = conn.Close()
			return fmt.Errorf("nobody serves HTTP/1 without TLS at %s", key)
		}
		if m.epoch.inbox.put(conn) { // or a reload has ended the epoch
			return nil
		}
	}
}

// adopt makes a connection one of this process.
func adopt(key string, conn net.Conn) net.Conn {
	conn = makeMovable(listeners.Adopt(key, conn))
	if m := movableOf(conn); m != nil {
		m.adopted = true
	}
	return conn
}

// serving returns the current member of the front with a key, or nil.
func (r *registry) serving(key string) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.fronts[key]; f != nil {
		return f.current.Load()
	}
	return nil
}

// plain reports whether the member serves HTTP/1 without TLS.
func (m *member) plain() bool { return !m.epoch.settings.tls && m.epoch.settings.http1 }
