package seamless

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// goAwayRaw is an HTTP/2 client that sees each frame.
type goAwayRaw struct {
	*http2.Framer
	net.Conn
	t      testing.TB
	packer *hpack.Encoder
	block  bytes.Buffer
}

// raw connects to the site. Streams may be answered without end.
func (s *goAwaySite) raw(t testing.TB) *goAwayRaw {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second)) // if the test hangs
	if s.tls != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	r := &goAwayRaw{Framer: http2.NewFramer(conn, conn), Conn: conn, t: t}
	r.packer = hpack.NewEncoder(&r.block)
	_, err = conn.Write([]byte(http2.ClientPreface))
	r.must(err)
	r.must(r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}))
	r.must(r.WriteWindowUpdate(0, 1<<30))
	return r
}

func (r *goAwayRaw) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// headers returns those of a request.
func (r *goAwayRaw) headers(path string) []byte {
	r.block.Reset()
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", path}} {
		r.must(r.packer.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
	}
	return r.block.Bytes()
}

// get begins a request.
func (r *goAwayRaw) get(stream uint32, path string) {
	r.t.Helper()
	r.must(r.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: r.headers(path), EndStream: true, EndHeaders: true}))
}

// next returns the next frame that is not about settings or windows.
func (r *goAwayRaw) next() http2.Frame {
	r.t.Helper()
	for {
		frame, err := r.ReadFrame()
		r.must(err)
		switch frame.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame:
		default:
			return frame
		}
	}
}

// wantGoAway reads the next frame, which must be a GOAWAY without error.
func (r *goAwayRaw) wantGoAway(last uint32) {
	r.t.Helper()
	frame := r.next()
	if f, ok := frame.(*http2.GoAwayFrame); !ok || f.LastStreamID != last || f.ErrCode != http2.ErrCodeNo {
		r.t.Fatalf("got %v, want GOAWAY with last stream %d", frame, last)
	}
}

// wantFirst reads what asks the client for no more requests.
func (r *goAwayRaw) wantFirst() {
	r.t.Helper()
	r.wantGoAway(1<<31 - 1)
	frame := r.next()
	if f, ok := frame.(*http2.PingFrame); !ok || f.IsAck() || f.Data != goAwayPing {
		r.t.Fatalf("got %v, want PING", frame)
	}
}

// wantAnswer reads the frames of an answer, and nothing else.
func (r *goAwayRaw) wantAnswer(stream uint32) {
	r.t.Helper()
	for {
		frame := r.next()
		switch frame.(type) {
		case *http2.HeadersFrame, *http2.DataFrame:
		default:
			r.t.Fatalf("got %v, want an answer", frame)
		}
		if h := frame.Header(); h.StreamID != stream {
			r.t.Fatalf("got %v, want stream %d", frame, stream)
		} else if h.Flags.Has(http2.FlagDataEndStream) { // HEADERS has the same
			return
		}
	}
}

// wantAnswerAndGoAway reads an answer and a GOAWAY, in any order.
func (r *goAwayRaw) wantAnswerAndGoAway(stream uint32) {
	r.t.Helper()
	for answered, last := false, uint32(0); !answered || last == 0; {
		frame := r.next()
		if f, ok := frame.(*http2.GoAwayFrame); ok {
			last = f.LastStreamID
			if last != stream || f.ErrCode != http2.ErrCodeNo {
				r.t.Fatalf("got %v, want last stream %d", f, stream)
			}
			continue
		}
		h := frame.Header()
		if h.StreamID != stream {
			r.t.Fatalf("got %v, want stream %d", frame, stream)
		}
		answered = h.Flags.Has(http2.FlagDataEndStream)
	}
}

// wantEnd waits for the end of the connection.
func (r *goAwayRaw) wantEnd() {
	r.t.Helper()
	if frame, err := r.ReadFrame(); err == nil {
		r.t.Fatalf("got %v, want the end", frame)
	}
}
