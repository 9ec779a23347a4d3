package hello

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// server is the app in one configuration; its methods are the handlers.
type server struct {
	cfg    Config
	visits *store
	ticks  atomic.Int64 // of the background goroutines
}

func newServer(cfg Config, visits *store) *server {
	return &server{cfg: cfg, visits: visits}
}

// group is a group of routes on the index page.
type group struct {
	Title  string
	Routes []route
}

// route is a route and what the index page says of it. Both come from one
// table, so that the page can leave none out.
type route struct {
	Method, Path, About string

	// example is a shell command, with $URL for the address of the app.
	example string
	handler gin.HandlerFunc
}

const staticPath = "/static/*filepath"

// handshake makes curl ask for a WebSocket and give up after a second.
const handshake = `curl -i --http1.1 -m 1 -H 'Connection: Upgrade' -H 'Upgrade: websocket' ` +
	`-H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: aGVsbG8sIHdvcmxkISEhIQ==' `

func (s *server) table() []group {
	return []group{
		{"Basics", []route{
			{"GET", "/", "this page", `curl '$URL/'`, s.index},
			{"GET", "/ping", "a health check", `curl '$URL/ping'`, s.ping},
			{"GET", "/greeting", "the configured greeting", `curl '$URL/greeting'`, s.greeting},
			{"GET", "/config", "the configuration of the app", `curl '$URL/config'`, s.config},
			{"GET", "/users/:id", "a path parameter", `curl '$URL/users/42'`, s.user},
			{"GET", "/whoami", "what the app knows of the request", `curl '$URL/whoami'`, s.whoami},
			{"GET", "/page", "an HTML template", `curl '$URL/page?name=you'`, s.page},
			{"GET", staticPath, "embedded files", `curl '$URL/static/hello.txt'`, static()},
			{"GET", "/counter", "a session in a cookie", `curl -c jar -b jar '$URL/counter'`, s.counter},
		}},
		{"Streams", []route{
			{"POST", "/echo", "the request body, sent back as it comes in", `curl -N -T - -X POST '$URL/echo'`, s.echo},
			{"GET", "/events", "server-sent events; n=0 has no end", `curl -N '$URL/events?n=3&interval=500ms'`, s.events},
			{"GET", "/slow", "an answer that takes its time", `curl '$URL/slow?d=2s'`, s.slow},
			{"GET", "/bytes", "n bytes", `curl -o bytes '$URL/bytes?n=1000000'`, s.bytes},
			{"POST", "/upload", "the size and hash of each file", `curl -F file=@bytes '$URL/upload'`, s.upload},
		}},
		{"WebSockets", []route{
			{"GET", "/ws", "echo, with coder/websocket", handshake + `'$URL/ws'`, s.wsCoder},
			{"GET", "/ws/gorilla", "echo, with gorilla/websocket", handshake + `'$URL/ws/gorilla'`, s.wsGorilla},
			{"GET", "/ws/detached", "echo, from a goroutine that outlives the handler", handshake + `'$URL/ws/detached'`, s.wsDetached},
		}},
		{"Corner cases", []route{
			{"GET", "/fail", "an error for Caddy to answer", `curl -i '$URL/fail?status=503'`, s.fail},
			{"GET", "/panic", "a handler that panics", `curl -i '$URL/panic'`, s.panic},
			{"GET", "/abort", "a response that breaks off half-way", `curl -i '$URL/abort'`, s.abort},
			{"GET", "/hints", "103 Early Hints", `curl -i '$URL/hints'`, s.hints},
			{"GET", "/hijack", "a response written to the bare connection", `curl -i --http1.1 '$URL/hijack'`, s.hijack},
		}},
		{"Lifecycle", []route{
			{"GET", "/goroutines", "background goroutines of the process", `curl '$URL/goroutines'`, s.goroutines},
			{"GET", "/shared", "shared values opened and closed", `curl '$URL/shared'`, s.shared},
		}},
	}
}

// routes adds the app to an engine. It needs no Caddy.
func routes(r *gin.Engine, s *server) {
	r.SetHTMLTemplate(pages())
	for _, g := range s.table() {
		for _, rt := range g.Routes {
			r.Handle(rt.Method, rt.Path, rt.handler)
		}
	}
	r.HEAD(staticPath, static()) // as gin's own r.Static does
}

// pong is the answer of /ping, which is always the same: there is nothing to marshal.
var pong = []byte(`{"message":"pong"}`)

func (s *server) ping(c *gin.Context) {
	c.Data(http.StatusOK, "application/json; charset=utf-8", pong)
}

func (s *server) greeting(c *gin.Context) {
	c.String(http.StatusOK, "%s", s.cfg.Greeting)
}

func (s *server) user(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{"id": c.Param("id")})
}

// config shows the configuration, which has no secrets in it.
func (s *server) config(c *gin.Context) {
	c.JSON(http.StatusOK, gin.H{
		"greeting":   s.cfg.Greeting,
		"tags":       s.cfg.Tags,
		"workers":    s.cfg.Workers,
		"interval":   s.cfg.Interval.String(),
		"limits":     s.cfg.Limits,
		"shared_key": s.cfg.SharedKey,
	})
}

// whoami is what /whoami answers.
type whoami struct {
	ClientIP   string `json:"client_ip"`
	RemoteAddr string `json:"remote_addr"`
	LocalAddr  string `json:"local_addr"`
	Scheme     string `json:"scheme"`
	Host       string `json:"host"`
	Proto      string `json:"proto"`
	TLS        bool   `json:"tls"`
	App        string `json:"app"`
	Route      string `json:"route"`
	Prefix     string `json:"prefix"`
	RequestID  string `json:"request_id"`
	Peer       *peer  `json:"peer,omitempty"`
}

// peer is the process at the other end of a Unix socket.
type peer struct {
	UID string `json:"uid"`
	GID string `json:"gid"`
	PID string `json:"pid"`
}

func (s *server) whoami(c *gin.Context) {
	me := whoami{
		ClientIP:   c.ClientIP(),
		RemoteAddr: c.Request.RemoteAddr,
		Scheme:     ginbridge.Scheme(c),
		Host:       c.Request.Host,
		Proto:      c.Request.Proto,
		TLS:        c.Request.TLS != nil,
		App:        ginbridge.Placeholder(c, "http.gin.app"),
		Route:      ginbridge.Placeholder(c, "http.gin.route"),
		Prefix:     ginbridge.Prefix(c),
		RequestID:  ginbridge.Placeholder(c, "http.request.uuid"),
	}
	if addr, ok := c.Request.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		me.LocalAddr = addr.String()
	}
	p := peer{
		UID: ginbridge.Placeholder(c, "http.gin.peer.uid"),
		GID: ginbridge.Placeholder(c, "http.gin.peer.gid"),
		PID: ginbridge.Placeholder(c, "http.gin.peer.pid"),
	}
	if p != (peer{}) {
		me.Peer = &p
	}
	c.JSON(http.StatusOK, me)
}

// badRequest answers a request whose parameters make no sense.
func badRequest(c *gin.Context, err error) {
	c.AbortWithStatusJSON(http.StatusBadRequest, gin.H{"error": err.Error()})
}

// queryInt returns the query parameter name, which must be from low to high.
func queryInt(c *gin.Context, name string, fallback, low, high int64) (int64, error) {
	s, ok := c.GetQuery(name)
	if !ok {
		return fallback, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s is %q, must be a number from %d to %d", name, s, low, high)
	}
	return n, nil
}

// queryDuration is like queryInt for durations such as 500ms.
func queryDuration(c *gin.Context, name string, fallback, low, high time.Duration) (time.Duration, error) {
	s, ok := c.GetQuery(name)
	if !ok {
		return fallback, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < low || d > high {
		return 0, fmt.Errorf("%s is %q, must be a duration from %v to %v, such as 500ms", name, s, low, high)
	}
	return d, nil
}
