package ginbridge

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// MountInfo tells about an app at one place of a configuration.
type MountInfo struct {
	// App is the name under which the app is registered.
	App string `json:"name"`

	// Module is the Caddy module that builds it.
	Module string `json:"module"`

	// Config is what the app was configured with, placeholders not replaced;
	// for a module written by hand, its JSON after Provision. Instead of secrets
	// it has "REDACTED", see [App.Config], and instead of all if the app has not
	// said by App.Config what it consists of.
	Config json.RawMessage `json:"config,omitempty"`

	// Generation is the ID of the mount's generation, and Since when that became
	// live.
	Generation uint64    `json:"generation"`
	Since      time.Time `json:"since,omitzero"`

	// Requests, Streams and Hijacked are as in [GenerationInfo].
	Requests int `json:"requests"`
	Streams  int `json:"streams"`
	Hijacked int `json:"hijacked"`
}

// Info tells about the mount.
func (m *Mount) Info() MountInfo {
	info := MountInfo{
		App: m.app.name, Module: Namespace + "." + m.app.name, Config: mask(m.app.config, m.app.shape),
		Generation: m.gen.id, Requests: int(m.inFlight.Load()),
	}
	m.gen.mu.Lock()
	defer m.gen.mu.Unlock()
	info.Since = m.gen.startedAt
	for s := range m.gen.streams {
		switch {
		case s.mount != m:
		case s.kind == hijacked:
			info.Hijacked++
		default:
			info.Streams++
		}
	}
	return info
}

// RouteInfo tells about a route of an app.
type RouteInfo struct {
	App     string `json:"app"`
	Method  string `json:"method"`
	Pattern string `json:"pattern"`

	// Handler is the name of the last handler's function; the function of a
	// method value is named as the method.
	Handler string `json:"handler"`

	// Middleware is the number of handlers before the last one.
	Middleware int `json:"middleware"`

	// Requests and Errors count since the process started, whatever
	// configuration the app had. Errors are answers with 5xx and aborted ones.
	Requests uint64 `json:"requests"`
	Errors   uint64 `json:"errors"`

	// P50 and P99 are estimates of the median and the 99th percentile of the
	// time that handlers took, in seconds, streams left out. They are absent
	// without a request.
	P50 *float64 `json:"p50,omitempty"`
	P99 *float64 `json:"p99,omitempty"`
}

// RouteInfos tells about all routes of the mounted app. What it counts is for
// all mounts of the app together.
func (m *Mount) RouteInfos() []RouteInfo {
	lengths := chainLengths(m.engine)
	infos := make([]RouteInfo, 0, len(m.routes))
	for _, r := range m.routes {
		info := RouteInfo{App: m.app.name, Method: r.Method, Pattern: fullPath(r), Handler: strings.TrimSuffix(r.Handler, "-fm")}
		info.Middleware = max(0, lengths[[2]string{r.Method, info.Pattern}]-1)
		stats.Lock()
		s := stats.m[routeKey{m.app.name, info.Pattern, r.Method}]
		stats.Unlock()
		if s != nil {
			info.Requests, info.Errors = s.requests()
			if q, ok := s.quantiles(.5, .99); ok {
				info.P50, info.P99 = &q[0], &q[1]
			}
		}
		infos = append(infos, info)
	}
	return infos
}

// fullPath returns the pattern of a route as gin.Context.FullPath has it: an
// escaped colon is one.
func fullPath(r gin.RouteInfo) string { return strings.ReplaceAll(r.Path, `\:`, ":") }

// chainLengths returns how many handlers the routes of an engine have, by
// method and pattern. Gin keeps its trees to itself; their fields may be read
// all the same. What a later Gin does not have is missing.
func chainLengths(engine *gin.Engine) map[[2]string]int {
	lengths := make(map[[2]string]int)
	trees := reflect.ValueOf(engine).Elem().FieldByName("trees")
	if trees.Kind() != reflect.Slice {
		return lengths
	}
	for i := range trees.Len() {
		method, root := trees.Index(i).FieldByName("method"), trees.Index(i).FieldByName("root")
		if method.Kind() == reflect.String && root.Kind() == reflect.Pointer {
			addChains(lengths, method.String(), root)
		}
	}
	return lengths
}

func addChains(lengths map[[2]string]int, method string, node reflect.Value) {
	if node.IsNil() {
		return
	}
	node = node.Elem()
	pattern, handlers, children := node.FieldByName("fullPath"), node.FieldByName("handlers"), node.FieldByName("children")
	if pattern.Kind() == reflect.String && handlers.Kind() == reflect.Slice && handlers.Len() > 0 {
		lengths[[2]string{method, pattern.String()}] = handlers.Len()
	}
	if children.Kind() != reflect.Slice {
		return
	}
	for i := range children.Len() {
		if child := children.Index(i); child.Kind() == reflect.Pointer {
			addChains(lengths, method, child)
		}
	}
}
