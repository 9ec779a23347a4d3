package ginbridge

import (
	"testing"

	"github.com/gin-gonic/gin"
)

func TestRouteInfos(t *testing.T) {
	r := gin.New()
	nothing := func(*gin.Context) {}
	r.Use(nothing, nothing)
	r.GET("/", nothing)
	r.GET("/users/:id", nothing, nothing)
	r.POST("/users/:id", nothing)
	r.GET("/users/:id/orders", nothing)
	r.GET(`/time\:now`, nothing)
	r.Group("/v2", nothing).PUT("/files/*path", nothing)
	routes, err := adoptEngine(r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer disownEngine(r)
	m := &Mount{app: &App{name: "route-infos"}, engine: r, routes: routes, counters: newRouteCounters("route-infos", routes)}
	m.counters.of("/time:now", "GET").answered(200)
	m.counters.of("/time:now", "GET").answered(503)
	m.counters.of("/time:now", "GET").duration.Observe(.001)
	want := map[string]int{
		"GET /": 2, "GET /users/:id": 3, "POST /users/:id": 2, "GET /users/:id/orders": 2, "GET /time:now": 2, "PUT /v2/files/*path": 3,
	}
	for _, info := range m.RouteInfos() {
		name := info.Method + " " + info.Pattern
		if n, ok := want[name]; !ok || n != info.Middleware {
			t.Errorf("%s has %d, want %d", name, info.Middleware, n)
		}
		delete(want, name)
		if counted := info.Requests == 2 && info.Errors == 1 && info.P50 != nil; counted != (name == "GET /time:now") {
			t.Errorf("%s: %+v", name, info)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}
