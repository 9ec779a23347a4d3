package ginbridge_test

import (
	"bufio"
	"context"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip" // encode's writer needs an encoder
	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// What the bridge costs is the difference between its ServeHTTP and that of a
// bare Gin engine, on the same writer and the same kind of request of Caddy's:
//
//	go test ./ginbridge -run - -bench Difference
//	go test ./ginbridge -run - -bench 'Serve|Parallel' -benchmem

// pong is the answer of /ping.
var pong = []byte(`{"message":"pong"}`)

// benchApp is the app that both sides serve.
type benchApp struct{}

func (benchApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: ginbridge.Namespace + ".bench", New: func() caddy.Module { return benchApp{} }}
}

func (benchApp) BuildEngine(*ginbridge.App) (*gin.Engine, error) {
	r := gin.New()
	r.GET("/ping", func(c *gin.Context) { // as the demonstration app has it
		c.Data(http.StatusOK, "application/json; charset=utf-8", pong)
	})
	r.GET("/json", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"message": "pong"}) })
	r.GET("/users/:id/orders/:order", func(c *gin.Context) { c.String(http.StatusOK, c.Param("id")) })
	return r, nil
}

// benchSite is one side of the comparison: a handler, and the server that it
// believes to be in.
type benchSite struct {
	serve    func(http.ResponseWriter, *http.Request) error
	server   *caddyhttp.Server
	recorder bool // as with the access log on
}

// benchSites returns the two sides. wrapper is "plain", "log" or "encode":
// what lies around the writer, as it would on the way to the gin directive.
func benchSites(tb testing.TB, wrapper string) (bare, bridge *benchSite) {
	tb.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	tb.Cleanup(cancel)
	server := new(caddyhttp.Server)
	if wrapper == "log" {
		server.Logs = new(caddyhttp.ServerLogConfig)
	}
	generation := ginbridge.NewGeneration(zap.NewNop())
	tb.Cleanup(func() { generation.Retire(false, 0) })
	mount, err := generation.Mount(ctx.WithValue(caddyhttp.ServerCtxKey, server), "bench", benchApp{}, ginbridge.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	engine, _ := benchApp{}.BuildEngine(nil)
	bare = &benchSite{server: server, serve: func(w http.ResponseWriter, r *http.Request) error {
		engine.ServeHTTP(w, r)
		return nil
	}}
	bridge = &benchSite{server: server, serve: mount.ServeHTTP}
	for _, s := range []*benchSite{bare, bridge} {
		s.recorder = wrapper == "log"
		if wrapper == "encode" {
			enc := &encode.Encode{EncodingsRaw: caddy.ModuleMap{"gzip": []byte("{}")}}
			if err := enc.Provision(ctx); err != nil {
				tb.Fatal(err)
			}
			next := caddyhttp.HandlerFunc(s.serve)
			s.serve = func(w http.ResponseWriter, r *http.Request) error { return enc.ServeHTTP(w, r, next) }
		}
	}
	return bare, bridge
}

// benchCall is a request that is ready for the handler.
type benchCall struct {
	w http.ResponseWriter
	r *http.Request
}

// prepare does what net/http and caddyhttp.Server.ServeHTTP do before the
// handlers.
func (s *benchSite) prepare(tb testing.TB, raw string) benchCall {
	r, err := http.ReadRequest(bufio.NewReaderSize(strings.NewReader(raw), 1024))
	if err != nil {
		tb.Fatal(err)
	}
	r.RemoteAddr = "203.0.113.7:50000"
	beneath := &benchWriter{header: make(http.Header)}
	beneath.header["Server"] = benchServerHeader
	var w http.ResponseWriter = &caddyhttp.IdleTimeoutWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: beneath},
		Ctrl:                  http.NewResponseController(beneath),
		Deadline:              caddyhttp.IdleDeadline{Start: time.Now(), Timeout: time.Minute},
	}
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, s.server)
	if s.recorder {
		w = caddyhttp.NewResponseRecorder(w, nil, nil)
	}
	return benchCall{w, r}
}

func (s *benchSite) do(tb testing.TB, c benchCall) {
	if err := s.serve(c.w, c.r); err != nil {
		tb.Fatal(err)
	}
}

var benchServerHeader = []string{"Caddy"}

// benchWriter stands for the writer of net/http.
type benchWriter struct {
	header  http.Header
	status  int
	written int
}

func (w *benchWriter) Header() http.Header                 { return w.header }
func (w *benchWriter) WriteHeader(status int)              { w.status = status }
func (w *benchWriter) Write(b []byte) (int, error)         { w.written += len(b); return len(b), nil }
func (w *benchWriter) ReadFrom(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }
func (w *benchWriter) SetWriteDeadline(time.Time) error    { return nil }

const (
	benchCurl = "Host: localhost\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\nX-Request-Id: 1\r\n\r\n"

	benchBrowser = "Host: localhost\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\nDnt: 1\r\nSec-Gpc: 1\r\nUpgrade-Insecure-Requests: 1\r\n" +
		"Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\nSec-Fetch-User: ?1\r\n" +
		"Priority: u=0, i\r\nCache-Control: max-age=0\r\nCookie: session=0123456789abcdef\r\n\r\n"
)

// benchCases are what is measured.
var benchCases = []struct{ name, path, header, wrapper string }{
	{"ping/curl", "/ping", benchCurl, "plain"},
	{"ping/browser", "/ping", benchBrowser, "plain"},
	{"ping/curl/log", "/ping", benchCurl, "log"},
	{"ping/browser/log", "/ping", benchBrowser, "log"},
	{"ping/browser/encode", "/ping", benchBrowser, "encode"},
	{"params/curl", "/users/42/orders/7", benchCurl, "plain"},
	{"json/curl", "/json", benchCurl, "plain"},
	{"404/curl", "/nowhere", benchCurl, "plain"},
}

// BenchmarkServe has the figures of each side, the preparation of the request
// included, the same on both. It is for profiles and for benchstat.
func BenchmarkServe(b *testing.B) {
	for _, c := range benchCases {
		bare, bridge := benchSites(b, c.wrapper)
		raw := "GET " + c.path + " HTTP/1.1\r\n" + c.header
		run := func(s *benchSite) func(*testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s.do(b, s.prepare(b, raw))
				}
			}
		}
		b.Run(c.name+"/bare", run(bare))
		b.Run(c.name+"/bridge", run(bridge))
	}
}

// BenchmarkDifference reports what the bridge adds to a request, without the
// preparation. The sides take turns and the median of each counts, so that a
// noisy machine changes little. (Reading the clock is in both figures.)
func BenchmarkDifference(b *testing.B) {
	for _, c := range benchCases {
		b.Run(c.name, func(b *testing.B) {
			var sites [2]*benchSite
			sites[0], sites[1] = benchSites(b, c.wrapper)
			raw := "GET " + c.path + " HTTP/1.1\r\n" + c.header
			var spent [2][]time.Duration // on each request
			for b.Loop() {
				for side, s := range sites {
					call := s.prepare(b, raw)
					start := time.Now()
					s.do(b, call)
					spent[side] = append(spent[side], time.Since(start))
				}
			}
			median := func(of []time.Duration) float64 {
				slices.Sort(of)
				return float64(of[len(of)/2])
			}
			bare, bridge := median(spent[0]), median(spent[1])
			b.ReportMetric(0, "ns/op") // of both sides together: means nothing
			b.ReportMetric(bare, "bare-ns")
			b.ReportMetric(bridge, "bridge-ns")
			b.ReportMetric(bridge-bare, "extra-ns")
			b.ReportMetric(sites[1].allocs(b, raw)-sites[0].allocs(b, raw), "extra-allocs")
		})
	}
}

// allocs returns the number of allocations for a request: the least of many,
// since pools are emptied by the garbage collector and, under the race
// detector, at random.
func (s *benchSite) allocs(tb testing.TB, raw string) float64 {
	least := math.Inf(1)
	for range 300 {
		least = min(least, testing.AllocsPerRun(1, func() { s.do(tb, s.prepare(tb, raw)) }))
	}
	return least
}

// BenchmarkParallel shows what requests on all processors lose by counting
// themselves in and out of the generation. The figures include the
// preparation of the requests, the same on both sides.
func BenchmarkParallel(b *testing.B) {
	bare, bridge := benchSites(b, "plain")
	raw := "GET /ping HTTP/1.1\r\n" + benchCurl
	run := func(s *benchSite) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s.do(b, s.prepare(b, raw))
				}
			})
		}
	}
	b.Run("ping/bare", run(bare))
	b.Run("ping/bridge", run(bridge))
}

func TestBridgeAllocatesAtMostOnceMore(t *testing.T) {
	for client, header := range map[string]string{"curl": benchCurl, "browser": benchBrowser} {
		raw := "GET /ping HTTP/1.1\r\n" + header
		bare, bridge := benchSites(t, "plain")
		without, with := bare.allocs(t, raw), bridge.allocs(t, raw)
		t.Logf("%s: %v allocations without the bridge, %v with it", client, without, with)
		if with > without+1 {
			t.Errorf("%s: the bridge allocates %v times more, want at most once more", client, with-without)
		}
	}
}
