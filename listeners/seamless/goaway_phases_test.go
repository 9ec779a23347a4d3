package seamless

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// goAwayBoth runs a test with TLS and without.
func goAwayBoth(t *testing.T, run func(t *testing.T, withTLS bool)) {
	t.Parallel()
	t.Run("h2", func(t *testing.T) { t.Parallel(); run(t, true) })
	t.Run("h2c", func(t *testing.T) { t.Parallel(); run(t, false) })
}

// ended waits until an epoch has no connection any more.
func (e *epoch) ended(t testing.TB) {
	t.Helper()
	goAwayEventually(t, "the end of all connections", func() bool {
		e.http2.mu.Lock()
		defer e.http2.mu.Unlock()
		return len(e.http2.conns) == 0 && e.conns.Load() == 0
	})
}

var goAwayOK = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })

func TestGoAwayComesInTwoPhases(t *testing.T) {
	goAwayBoth(t, func(t *testing.T, withTLS bool) {
		began, release := make(chan struct{}), make(chan struct{})
		s := goAwayStart(t, withTLS, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/held" {
				close(began)
				<-release
			}
			goAwayOK(w, r)
		}))
		r := s.raw(t)
		r.get(1, "/held")
		<-began
		e := s.current.Load()
		e.goAway()
		e.goAway()
		r.wantFirst()
		r.get(3, "/")
		r.wantAnswer(3)
		// a request that was numbered before, in the same packet
		var late bytes.Buffer
		frames := http2.NewFramer(&late, nil)
		r.must(frames.WritePing(true, goAwayPing))
		r.must(frames.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: r.headers("/"), EndStream: true, EndHeaders: true}))
		_, err := r.Write(late.Bytes())
		r.must(err)
		r.wantAnswerAndGoAway(5)
		close(release)
		r.wantAnswer(1)
		r.wantEnd()
		e.ended(t)
	})
}

func TestGoAwayDoesNotWaitForeverForTheClient(t *testing.T) {
	goAwayBoth(t, func(t *testing.T, withTLS bool) {
		s := goAwayStart(t, withTLS, goAwayOK)
		e := s.current.Load()
		silent, slow := s.raw(t), s.raw(t)
		for _, r := range []*goAwayRaw{silent, slow} {
			r.get(1, "/")
			r.wantAnswer(1)
		}
		// a frame that is on its way at the limit counts
		headers := slow.headers("/")
		frame := append([]byte{0, 0, byte(len(headers)), byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream), 0, 0, 0, 3}, headers...)
		_, err := slow.Write(frame[:12])
		slow.must(err)
		e.goAway()
		silent.wantFirst()
		silent.wantGoAway(1)
		silent.wantEnd()
		slow.wantFirst()
		_, err = slow.Write(frame[12:])
		slow.must(err)
		slow.wantAnswerAndGoAway(3)
		slow.wantEnd()
		e.ended(t)
	})
}

func TestGoAwayReachesLaterConnections(t *testing.T) {
	goAwayBoth(t, func(t *testing.T, withTLS bool) {
		s := goAwayStart(t, withTLS, goAwayOK)
		e := s.current.Load()
		e.goAway()
		r := s.raw(t)
		r.wantFirst()
		r.get(1, "/")
		r.wantAnswer(1)
		r.must(r.WritePing(true, goAwayPing))
		r.wantGoAway(1)
		r.wantEnd()
		e.ended(t)
	})
}

func TestGoAwayLeavesHTTP1Alone(t *testing.T) {
	t.Parallel()
	s := goAwayStart(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr)
	}))
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	get := func() string {
		answer, err := (&http.Client{Transport: transport}).Get(s.url("/"))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.Close || answer.ProtoMajor != 1 {
			t.Fatalf("got %v, %v", answer, err)
		}
		return string(body)
	}
	before := get()
	r := s.raw(t)
	r.get(1, "/")
	r.wantAnswer(1)
	s.current.Load().goAway()
	during := get()
	r.wantFirst()
	r.must(r.WritePing(true, goAwayPing))
	r.wantGoAway(1)
	r.wantEnd()
	if after := get(); during != before || after != before {
		t.Errorf("connections from %s, %s and %s, want one", before, during, after)
	}
}

// The header of an answer takes many CONTINUATION frames, and header and body
// are larger than what the sockets hold: goAway comes anywhere in them.
func TestGoAwayIsBetweenFrames(t *testing.T) {
	const streams = 5
	header, body := strings.Repeat("h", 200<<10), strings.Repeat("b", 1<<20)
	goAwayBoth(t, func(t *testing.T, withTLS bool) {
		s := goAwayStart(t, withTLS, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"A", "B", "C"} {
				w.Header().Set(name, header)
			}
			_, _ = io.WriteString(w, body)
		}))
		for range 10 {
			e, r := s.current.Load(), s.raw(t)
			for i := range uint32(streams) {
				r.get(2*i+1, "/")
			}
			when, got, ended, pings, last := rand.IntN(400), 0, 0, 0, uint32(0)
			for frames := 0; ended < streams || last != 2*streams-1; frames++ {
				frame := r.next()
				if frames == when {
					e.goAway()
				}
				switch f := frame.(type) {
				case *http2.DataFrame:
					if got += len(f.Data()); f.StreamEnded() {
						ended++
					}
				case *http2.PingFrame:
					pings++
					r.must(r.WritePing(true, f.Data))
				case *http2.GoAwayFrame:
					last = f.LastStreamID
				}
			}
			if got != streams*len(body) || pings != 1 {
				t.Errorf("got %d bytes, want %d; %d PINGs", got, streams*len(body), pings)
			}
			r.wantEnd()
			e.ended(t)
			s.renew()
		}
	})
}

// It runs alone, because it counts goroutines.
func TestGoAwayLeavesNothing(t *testing.T) {
	for _, withTLS := range []bool{true, false} {
		s := goAwayStart(t, withTLS, goAwayOK)
		before := runtime.NumGoroutine()
		var all []*goAwayRaw
		for range 32 {
			r := s.raw(t)
			r.get(1, "/")
			r.wantAnswer(1)
			all = append(all, r)
		}
		e := s.current.Load()
		e.goAway()
		for i, r := range all {
			switch i % 3 {
			case 0: // acknowledges
				r.wantFirst()
				r.must(r.WritePing(true, goAwayPing))
			case 1: // hangs up
				_ = r.Close()
			}
		}
		e.ended(t)
		goAwayEventually(t, "the end of all goroutines", func() bool { return runtime.NumGoroutine() <= before })
	}
}
