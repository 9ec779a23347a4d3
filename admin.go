package caddygin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/ginbridge"
	"github.com/caddy-gin/caddy-gin/listeners"
	"github.com/caddy-gin/caddy-gin/listeners/upgrade"
)

func init() {
	caddy.RegisterModule(AdminAPI{})
}

// AdminAPI is a module that shows Gin apps, their routes, sockets and
// configurations at the admin endpoint, under `/gin/`. It is not configurable.
//
// Endpoint | Description
// ---------|---------------
// `GET /gin/apps` | The apps of the current configuration
// `GET /gin/routes[?app=NAME]` | Their routes, with requests, errors and durations
// `GET /gin/listeners` | The sockets of this plugin's networks, as the kernel has them
// `GET /gin/generations` | The configurations that are live, and those that still drain
// `POST /gin/generations/ID/close` | Ends the streams of one that drains
// `GET /gin/check?address=ADDRESS` | Whether an address could be bound, and who is in the way
// `POST /gin/upgrade` | Replaces the process by one of the new binary
// `GET /gin/health/live` | Whether the process is there
// `GET /gin/health/ready` | Whether it is ready for requests
type AdminAPI struct{}

// CaddyModule returns the Caddy module information.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.gin",
		New: func() caddy.Module { return new(AdminAPI) },
	}
}

// Provision refuses the configuration while the process is being replaced.
func (AdminAPI) Provision(caddy.Context) error { return upgrade.AdmitAdmin() }

// Routes returns a route for everything under /gin/.
func (AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: "/gin/", Handler: caddy.AdminHandlerFunc(serveAdmin)}}
}

// endpoint is an endpoint of the admin API. Its function returns what is to be
// answered as JSON.
type endpoint struct {
	method  string
	path    string // "*" stands for one segment, which the function gets
	respond func(r *http.Request, segment string) (any, error)
	stream  func(w http.ResponseWriter, r *http.Request) error // instead, if it answers bit by bit
}

var endpoints = []endpoint{
	{method: http.MethodGet, path: "/gin/apps", respond: func(*http.Request, string) (any, error) { return apps(), nil }},
	{method: http.MethodGet, path: "/gin/routes", respond: respondRoutes},
	{method: http.MethodGet, path: "/gin/listeners", respond: func(*http.Request, string) (any, error) { return sockets(), nil }},
	{method: http.MethodGet, path: "/gin/generations", respond: func(*http.Request, string) (any, error) { return generations(), nil }},
	{method: http.MethodPost, path: "/gin/generations/*/close", respond: respondClose},
	{method: http.MethodGet, path: "/gin/check", respond: respondCheck},
	{method: http.MethodPost, path: "/gin/upgrade", stream: streamUpgrade},
	{method: http.MethodGet, path: "/gin/health/live", respond: func(*http.Request, string) (any, error) { return healthInfo{OK: true}, nil }},
	{method: http.MethodGet, path: "/gin/health/ready", respond: respondReady},
}

// No request body is of use. One that is longer than maxBody is refused, after
// as much as maxDiscard has been read, so that the client gets to read the
// answer.
const (
	maxBody    = 4 << 10
	maxDiscard = 8 << 20
)

// serveAdmin answers requests for everything under /gin/. Caddy has checked
// where they come from.
func serveAdmin(w http.ResponseWriter, r *http.Request) error {
	e, segment := findEndpoint(r.URL.Path)
	if e == nil {
		return refuse(http.StatusNotFound, "there is no %.100q; the endpoints are %s", r.URL.Path, endpointPaths())
	}
	if r.Method != e.method && (r.Method != http.MethodHead || e.method != http.MethodGet) {
		w.Header().Set("Allow", e.method)
		return refuse(http.StatusMethodNotAllowed, "%s is for %s only", e.path, e.method)
	}
	if n, _ := io.Copy(io.Discard, io.LimitReader(r.Body, maxDiscard)); n > maxBody {
		return refuse(http.StatusRequestEntityTooLarge, "%s takes no body", e.path)
	}
	if e.stream != nil {
		return e.stream(w, r)
	}
	answer, err := e.respond(r, segment)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if health, ok := answer.(healthInfo); ok && !health.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(answer)
}

// refuse returns an error that Caddy answers with.
func refuse(status int, format string, args ...any) error {
	return caddy.APIError{HTTPStatus: status, Err: fmt.Errorf(format, args...)}
}

// findEndpoint returns the endpoint of a path, or nil.
func findEndpoint(path string) (e *endpoint, segment string) {
	for i := range endpoints {
		before, after, wild := strings.Cut(endpoints[i].path, "*")
		if !wild {
			if path == before {
				return &endpoints[i], ""
			}
			continue
		}
		rest, ok := strings.CutPrefix(path, before)
		if segment, ok2 := strings.CutSuffix(rest, after); ok && ok2 && segment != "" && !strings.Contains(segment, "/") {
			return &endpoints[i], segment
		}
	}
	return nil, ""
}

func endpointPaths() string {
	var paths []string
	for _, e := range endpoints {
		paths = append(paths, strings.Replace(e.path, "*", "ID", 1))
	}
	return strings.Join(paths, ", ")
}

func respondRoutes(r *http.Request, _ string) (any, error) {
	app := r.URL.Query().Get("app")
	if app != "" {
		var names []string
		if current := currentApp(); current != nil {
			names = current.appNames()
		}
		if !slices.Contains(names, app) {
			return nil, refuse(http.StatusNotFound, "the current configuration has no Gin app %.100q; its apps are: %s", app, strings.Join(names, ", "))
		}
	}
	return routes(app), nil
}

// closed is the answer to POST /gin/generations/ID/close.
type closed struct {
	// Closed is how many streams are being ended.
	Closed int `json:"closed"`
}

func respondClose(_ *http.Request, segment string) (any, error) {
	id, err := strconv.ParseUint(segment, 10, 64)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "%.100q is not the ID of a generation, a whole number", segment)
	}
	n, err := ginbridge.CloseStreams(id)
	switch {
	case errors.Is(err, ginbridge.ErrLive):
		return nil, refuse(http.StatusConflict, "generation %d is live; only streams of one that has been replaced can be ended", id)
	case err != nil:
		return nil, refuse(http.StatusNotFound, "there is no generation %d; GET /gin/generations lists them", id)
	}
	return closed{n}, nil
}

func respondCheck(r *http.Request, _ string) (any, error) {
	query := r.URL.Query()
	address := query.Get("address")
	if address == "" {
		return nil, refuse(http.StatusBadRequest, "the parameter address is missing: /gin/check?address=ipv4/:80")
	}
	port, err := strconv.ParseUint(query.Get("port"), 10, 16)
	if err != nil {
		if query.Has("port") {
			return nil, refuse(http.StatusBadRequest, "port: %.100q is not a port from 0 to 65535", query.Get("port"))
		}
		port = defaultCheckPort
	}
	check := listeners.Check
	switch h3 := query.Get("h3"); h3 {
	case "", "false":
	case "true":
		check = listeners.CheckHTTP3
	default:
		return nil, refuse(http.StatusBadRequest, "h3: %.100q is neither true nor false", h3)
	}
	var sets listeners.Sets
	if a := currentApp(); a != nil {
		sets = a
	}
	report := check(r.Context(), address, uint(port), sets)
	if report.Error != "" {
		return nil, refuse(http.StatusBadRequest, "%s", report.Error)
	}
	return report, nil
}

// Interface guards
var (
	_ caddy.AdminRouter = (*AdminAPI)(nil)
	_ caddy.Provisioner = (*AdminAPI)(nil)
)
