package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// streamCount is how many WebSockets there are, and how many event streams.
const streamCount = 20

func TestStreamsLiveOnAcrossReloads(t *testing.T) {
	streamBoth(t, func(t *testing.T, seamless bool) {
		s := testcaddy.Start(t, streamSite(seamless, "v0"))
		crowd := streamOpen(t, s, "v0", streamCount, streamCount)
		crowd.mustLive(t)
		if n := crowd.draining.Load(); n > 0 {
			t.Errorf("%d streams saw Draining before the reload", n)
		}
		for i := range 3 {
			value := "v" + strconv.Itoa(i+1)
			lifeReload(t, s, streamSite(seamless, value, "stream_close_delay 1s")) // which is not that of v0
			streams := streamOpen(t, s, value, 1, 1)
			streams.mustLive(t)
			streams.leave(t)
			testcaddy.Eventually(t, "Draining", func() bool { return crowd.draining.Load() == 2*streamCount })
			crowd.mustLive(t)
		}
		testcaddy.Eventually(t, "the release of what has no streams", func() bool { return streamReleased(s, "v2") })
		crowd.mustLive(t)
		if streamReleased(s, "v0") {
			t.Error("released under its streams")
		}
		logged := streamLogged(s)
		if len(logged) != 1 {
			t.Fatalf("got the entries %v", logged)
		}
		want := map[string]float64{"hijacked": streamCount, "streams": streamCount, "requests": 2 * streamCount}
		for field, n := range want {
			if logged[0].Fields[field] != n {
				t.Errorf("%s is %v, want %v", field, logged[0].Fields[field], n)
			}
		}
		crowd.leave(t)
		testcaddy.Eventually(t, "the release", func() bool { return streamReleased(s, "v0") })
		if !s.WaitLog(func(e testcaddy.Entry) bool {
			return e.Msg == "the last streams and requests of an earlier configuration have ended"
		}) {
			t.Error("the log does not tell of the end")
		}
	})
}

func TestStreamCloseDelaySpreadsTheEndsOfStreams(t *testing.T) {
	streamBoth(t, func(t *testing.T, seamless bool) {
		s := testcaddy.Start(t, streamSite(seamless, "v0", "stream_close_delay 2s"))
		crowd := streamOpen(t, s, "v0", streamCount, streamCount)
		client := testcaddy.Client(t, "http")
		download := bufio.NewReader(streamGet(t, client, s.HTTP("/download/one")))
		if _, err := download.Peek(1); err != nil {
			t.Fatal(err)
		}
		body, uploading := io.Pipe()
		uploaded := make(chan string, 1)
		go func() {
			resp, err := testcaddy.Client(t, "http").Post(s.HTTP("/upload"), "application/octet-stream", body)
			if err != nil {
				uploaded <- err.Error()
				return
			}
			answer, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				answer = []byte(err.Error())
			}
			uploaded <- string(answer)
		}()
		_, _ = uploading.Write(make([]byte, 1000))
		_, _ = uploading.Write(make([]byte, 1000)) // the first one is with the server, or on its way
		crowd.mustLive(t)

		lifeReload(t, s, streamSite(seamless, "v1", "stream_close_delay 2s"))
		after := streamOpen(t, s, "v1", 2, 2)
		crowd.await(t)
		if n := crowd.draining.Load(); n != 2*streamCount {
			t.Errorf("%d streams saw Draining", n)
		}
		n := crowd.spread()
		t.Logf("%d of %d streams ended apart from each other", n, 2*streamCount)
		if n < streamCount {
			t.Error("that is not spread")
		}
		after.mustLive(t)

		// the download and the upload hold the configuration, but it is not
		// their business
		testcaddy.Eventually(t, "the entry about them", func() bool { return len(streamLogged(s)) == 1 })
		if streamReleased(s, "v0") {
			t.Error("released under a download")
		}
		_, _ = uploading.Write(make([]byte, 500))
		_ = uploading.Close()
		if got := <-uploaded; got != "v0:2500" {
			t.Errorf("the upload ended with %q", got)
		}
		let, err := testcaddy.Client(t, "http").Post(s.HTTP("/let/one"), "", nil)
		if err != nil || let.StatusCode != http.StatusOK {
			t.Fatalf("got %v, %v", let, err)
		}
		if got, err := io.ReadAll(download); err != nil || len(got) != 2000 {
			t.Errorf("the download ended after %d bytes: %v", len(got), err)
		}
		testcaddy.Eventually(t, "the release", func() bool { return streamReleased(s, "v0") })
		after.mustLive(t)
	})
}

// Caddy would wait for the event streams for ever.
func TestStreamCloseDelayEndsStreamsAtExit(t *testing.T) {
	streamBoth(t, func(t *testing.T, seamless bool) {
		s := testcaddy.Start(t, streamSite(seamless, "v0", "stream_close_delay 400ms"))
		crowd := streamOpen(t, s, "v0", 3, 3)
		crowd.mustLive(t)
		s.Signal(syscall.SIGTERM)
		crowd.await(t)
		<-s.Exited()
		if n := crowd.draining.Load(); n != 6 {
			t.Errorf("%d streams saw Draining", n)
		}
		if !streamReleased(s, "v0") {
			t.Error("not released")
		}
	})
}

// A handler that goes on although its context has ended is kept from writing,
// except over HTTP/3.
func TestStreamCloseDelayEndsAnswersOfAllProtocols(t *testing.T) {
	for _, options := range [][]string{nil, {"timeout 1m"}} {
		t.Run(strings.Join(options, ""), func(t *testing.T) {
			streamBoth(t, func(t *testing.T, seamless bool) {
				s := testcaddy.Start(t, streamSite(seamless, "v0", append(options, "stream_close_delay 200ms")...))
				crowds := make(map[string]*streamCrowd)
				for _, protocol := range testcaddy.Protocols {
					crowd := streamOpen(t, s, "v0", 0, 0)
					for _, path := range []string{"/events", "/stubborn"} {
						if path == "/stubborn" && protocol == "h3" {
							continue
						}
						crowd.follow(t, streamGet(t, protocolClient(t, protocol), s.URL(protocol, path)))
					}
					crowd.mustLive(t)
					crowds[protocol] = crowd
				}
				tunnel, in := streamTunnel(t, s)
				if _, err := in.Write([]byte("ping")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(tunnel, make([]byte, 4)); err != nil {
					t.Fatal(err)
				}
				lifeReload(t, s, streamSite(seamless, "v1"))
				for protocol, crowd := range crowds {
					t.Log("awaiting the end of the streams over", protocol)
					crowd.await(t)
				}
				if got, err := io.ReadAll(tunnel); err == nil {
					t.Errorf("the tunnel ended with %q and no error", bytes.TrimSpace(got))
				}
				testcaddy.Eventually(t, "the release", func() bool { return streamReleased(s, "v0") })
			})
		})
	}
}

// streamTunnel opens a tunnel as a WebSocket over HTTP/2 does.
func streamTunnel(t *testing.T, s *testcaddy.Server) (out io.Reader, in io.Writer) {
	t.Helper()
	transport := &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec,staticcheck // the CA is made by the server under test; net/http's own has no extended CONNECT
	t.Cleanup(transport.CloseIdleConnections)                                             //nolint:staticcheck // as above
	body, in := io.Pipe()
	req, err := http.NewRequest(http.MethodConnect, s.HTTPS("/tunnel"), body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(":protocol", "websocket")
	resp, err := transport.RoundTrip(req) //nolint:staticcheck // as above
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", resp, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.Body, in
}
