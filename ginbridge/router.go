package ginbridge

import (
	"net/http"
	"net/url"
	"sync"

	"github.com/gin-gonic/gin"
)

// router answers which route of an engine would handle a request, without
// running any handler: it is a second engine with the same routes and
// settings whose handlers do nothing, so that Gin itself gives the answer. It
// is safe for concurrent use.
type router struct {
	engine *gin.Engine
	probes sync.Pool
}

// match is the answer of a router.
type match struct {
	route  string     // the pattern, or "" if no route matches
	params gin.Params // belongs to the caller
	answer int        // the status with which Gin would answer by itself, such as 301, 404 or 405, or 0
}

// handled tells whether the app has an answer of its own: a route, a redirect
// to one, or 405 if it is set up for that.
func (m match) handled() bool { return m.route != "" || m.answer != http.StatusNotFound }

// newRouter copies the settings of engine that routing looks at. routes are
// those of the engine before its first request, which changes `\:`.
func newRouter(engine *gin.Engine, routes gin.RoutesInfo) *router {
	shadow := gin.New()
	shadow.RedirectTrailingSlash = engine.RedirectTrailingSlash
	shadow.RedirectFixedPath = engine.RedirectFixedPath
	shadow.HandleMethodNotAllowed = engine.HandleMethodNotAllowed
	shadow.UseRawPath = engine.UseRawPath
	shadow.UseEscapedPath = engine.UseEscapedPath
	shadow.UnescapePathValues = engine.UnescapePathValues
	shadow.RemoveExtraSlash = engine.RemoveExtraSlash
	for _, r := range routes {
		shadow.Handle(r.Method, r.Path, doNothing)
	}
	finishRoutes(shadow)
	rt := &router{engine: shadow}
	rt.probes.New = func() any {
		p := new(probe)
		p.c = gin.CreateTestContextOnly(p, shadow)
		restore(&p.fresh, p.c)
		return p
	}
	return rt
}

func doNothing(*gin.Context) {}

// find looks a request up by its method and its path as net/url has it.
func (rt *router) find(method, path, rawPath string) match {
	p := rt.probes.Get().(*probe)
	defer rt.probes.Put(p)
	restore(p.c, &p.fresh)
	p.status = 0
	clear(p.header)
	p.url = url.URL{Path: path, RawPath: rawPath}
	p.request = http.Request{Method: method, URL: &p.url}
	p.c.Request = &p.request
	rt.engine.HandleContext(p.c)
	if route := p.c.FullPath(); route != "" {
		return match{route: route, params: append(gin.Params(nil), p.c.Params...)}
	}
	return match{answer: p.status}
}

// probe is a request in a router, and the writer that its answer vanishes in.
type probe struct {
	c       *gin.Context
	fresh   gin.Context // c as it was made
	request http.Request
	url     url.URL
	header  http.Header
	status  int
}

func (p *probe) Header() http.Header {
	if p.header == nil {
		p.header = make(http.Header)
	}
	return p.header
}

func (p *probe) WriteHeader(status int) { p.status = status }

func (p *probe) Write(b []byte) (int, error) { return len(b), nil }

// restore makes dst what src is. It is how a Gin context gets as good as new
// for the next request, its writer included, which Gin's own reset leaves
// out. (A context is only ever restored to a copy of itself.)
func restore[T any](dst, src *T) { *dst = *src }
