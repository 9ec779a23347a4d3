package steer

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// udpSocket binds a UDP socket, in the way of a successor or exclusively.
func udpSocket(t *testing.T, address string, share bool) *net.UDPConn {
	t.Helper()
	config := net.ListenConfig{}
	if share {
		config.Control = reusePort
	}
	conn, err := config.ListenPacket(t.Context(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UDPConn)
}

// packets are what clients send, and what they are.
func packets(t *testing.T) map[string][]byte {
	list := map[string][]byte{
		"initial": append([]byte{0xc0, 0, 0, 0, 1, 8}, "\xff\xff345678 and so on"...),
		"0-RTT":   append([]byte{0xd0, 0, 0, 0, 1, 20}, "12345678901234567890 and so on"...),
		"version": {0x80, 0xa, 0xb, 0xc, 0xd, 0},
	}
	for m, name := range []string{"even", "odd"} {
		generator := ConnectionIDs(Mark(m))
		id, err := generator.GenerateConnectionID()
		if err != nil {
			t.Fatal(err)
		}
		if id.Len() != generator.ConnectionIDLen() {
			t.Fatalf("ID of %d bytes", id.Len())
		}
		list[name] = append([]byte{0x40}, id.Bytes()...)
		list["handshake "+name] = append([]byte{0xe0, 0, 0, 0, 1, byte(id.Len())}, id.Bytes()...)
	}
	return list
}

// receives fails unless packets of a kind reach a socket.
func receives(t *testing.T, to *net.UDPConn, kind string, others ...*net.UDPConn) {
	t.Helper()
	for range 20 { // of clients with different ports
		client, err := net.Dial("udp", to.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		packet := packets(t)[kind]
		_, err = client.Write(packet)
		_ = client.Close()
		if err != nil {
			t.Fatal(err)
		}
		// on loopback it is in the queue by now
		got := make([]byte, 100)
		for _, other := range others {
			_ = other.SetReadDeadline(time.Unix(1, 0))
			if n, _, err := other.ReadFrom(got); err == nil {
				t.Fatalf("%s: another socket got %x", kind, got[:n])
			}
		}
		_ = to.SetReadDeadline(time.Now().Add(30 * time.Second))
		n, _, err := to.ReadFrom(got)
		if err != nil || string(got[:n]) != string(packet) {
			t.Fatalf("%s: got %x (%v), want %x", kind, got[:n], err, packet)
		}
	}
}

func TestPacketsReachTheProcessOfTheirConnection(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		for _, own := range []Mark{0, 1} {
			t.Run(address, func(t *testing.T) {
				t.Parallel()
				first := udpSocket(t, address, false)
				at := first.LocalAddr().String()
				group := Packets(first, own)
				mine, theirs := "odd", "even"
				if own == 0 {
					mine, theirs = theirs, mine
				}
				both := func(switchTo func() error, second, fresh *net.UDPConn) {
					t.Helper()
					if err := switchTo(); err != nil {
						t.Fatal(err)
					}
					if second == nil {
						for kind := range packets(t) {
							receives(t, first, kind)
						}
						return
					}
					other := first
					if fresh == first {
						other = second
					}
					for _, kind := range []string{mine, "handshake " + mine} {
						receives(t, first, kind, second)
					}
					for _, kind := range []string{theirs, "handshake " + theirs} {
						receives(t, second, kind, first)
					}
					for _, kind := range []string{"initial", "0-RTT", "version"} {
						receives(t, fresh, kind, other)
					}
				}
				both(group.Keep, nil, nil)
				both(group.Give, nil, nil)
				both(group.Keep, nil, nil)
				second := udpSocket(t, at, true)
				both(group.Keep, second, first)
				both(group.Give, second, second)
				both(group.Keep, second, first)
				both(group.Give, second, second)
				if err := group.Detach(); err == nil || !strings.Contains(err.Error(), "2 sockets share the address") {
					t.Error(err)
				}
				_ = second.Close()
				both(group.Keep, nil, nil)
				both(group.Detach, nil, nil)
				if conn, err := (&net.ListenConfig{Control: reusePort}).ListenPacket(t.Context(), "udp", at); err == nil {
					_ = conn.Close()
					t.Error("another socket may be bound to the address")
				}

				// the successor becomes the predecessor
				both(group.Keep, nil, nil)
				second = udpSocket(t, at, true)
				both(group.Give, second, second)
				_ = first.Close()
				first, mine, theirs = second, theirs, mine
				both(func() error { return nil }, nil, nil)
				group = Packets(first, own.Next())
				both(group.Keep, nil, nil)
				third := udpSocket(t, at, true)
				both(group.Keep, third, first)
				both(group.Give, third, third)
			})
		}
	}
}

func TestPacketsOfClosedSocket(t *testing.T) {
	t.Parallel()
	conn := udpSocket(t, "127.0.0.1:0", false)
	_ = conn.Close()
	if err := Packets(conn, 0).Keep(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// A successor's UDP socket is the only one that may be bound beside that of its
// predecessor, and exclusive in the end.
func TestSuccessorSharesWithPredecessor(t *testing.T) {
	t.Parallel()
	opened, err := networkPackets("ipv4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = opened.Close() }()
	at := opened.LocalAddr().String()
	stranger := func() error {
		conn, err := (&net.ListenConfig{Control: reusePort}).ListenPacket(t.Context(), "udp", at)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	successor := start(t, "successor")
	if got := successor.try("packets ipv4 " + at); !strings.HasPrefix(got, "error ") {
		t.Errorf("the predecessor shares before it keeps new connections: %s", got)
	}
	if err := Packets(opened.(PacketConn), 0).Keep(); err != nil {
		t.Fatal(err)
	}
	successor.do("packets ipv4 " + at)
	_ = opened.Close()
	successor.do("exclusive")
	if stranger() == nil {
		t.Error("the successor shares with anybody")
	}
}
