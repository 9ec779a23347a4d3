package seamless

import "golang.org/x/net/http2"

// frames follows one direction of an HTTP/2 connection from frame to frame. Its
// zero value is at the beginning of the first one.
type frames struct {
	header [9]byte // of the frame that is or was under way
	have   int     // how much of the next one's header has passed
	left   int     // how much of its payload has not
	ping   [8]byte // the payload of a PING

	begun bool // a frame has
	block bool // a header block has begun, and goes on in the next frame
	gone  bool // a GOAWAY has begun
}

// newFramesOfClient returns the frames that follow a client's preface.
func newFramesOfClient() frames { return frames{left: len(http2.ClientPreface)} }

// next follows p to the end of the frame in which it begins, and returns how
// much of p that is.
func (f *frames) next(p []byte) int {
	n := 0
	if f.left == 0 {
		n = copy(f.header[f.have:], p)
		if f.have += n; f.have < len(f.header) {
			return n
		}
		f.begin()
	}
	part := p[n:min(len(p), n+f.left)]
	if f.kind() == http2.FramePing && f.left <= len(f.ping) {
		copy(f.ping[len(f.ping)-f.left:], part)
	}
	f.left -= len(part)
	return n + len(part)
}

// begin takes in a header.
func (f *frames) begin() {
	f.have, f.begun = 0, true
	f.left = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
	switch f.kind() {
	case http2.FrameHeaders, http2.FramePushPromise, http2.FrameContinuation:
		f.block = !f.has(http2.FlagHeadersEndHeaders) // of the others it is the same
	case http2.FrameGoAway:
		f.gone = true
	}
}

func (f *frames) kind() http2.FrameType      { return http2.FrameType(f.header[3]) }
func (f *frames) has(flags http2.Flags) bool { return http2.Flags(f.header[4]).Has(flags) }

// between reports whether another frame may be put in here: not before the
// first, which must be SETTINGS, nor in a header block.
func (f *frames) between() bool {
	return f.begun && !f.block && f.left == 0 && f.have == 0
}

// acked reports whether the frame that has just passed is the acknowledgement
// of a PING.
func (f *frames) acked(ping [8]byte) bool {
	return f.between() && f.kind() == http2.FramePing && f.has(http2.FlagPingAck) && f.ping == ping
}
