package e2e

import (
	"net/http"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// optCase is a request and what is to come of it.
type optCase struct {
	target       string
	method       string // GET if empty
	status       int
	location     string
	allow        string
	route, param string // of an echo
}

func (c optCase) check(t *testing.T, s *testcaddy.Server) {
	t.Helper()
	if c.method == "" {
		c.method = http.MethodGet
	}
	got := optDo(t, s, c.method, c.target)
	if got.status != c.status || got.header.Get("Location") != c.location || got.header.Get("Allow") != c.allow {
		t.Errorf("%s %s: got %d, Location %q, Allow %q; want %d, %q, %q", c.method, c.target,
			got.status, got.header.Get("Location"), got.header.Get("Allow"), c.status, c.location, c.allow)
		return
	}
	if c.status != http.StatusOK || c.route == "" {
		return
	}
	echo := got.echo(t)
	param := echo.Params["id"] + echo.Params["path"] + echo.Params["n"]
	if echo.Route != c.route || param != c.param {
		t.Errorf("%s %s: got the route %q with %q; want %q with %q", c.method, c.target, echo.Route, param, c.route, c.param)
	}
}

// Each option as Gin has it, and set to both values.
func TestRoutingOptionsChangeWhatGinDoes(t *testing.T) {
	t.Parallel()
	trailing := []optCase{
		{target: "/ping/", status: 301, location: "/ping"},
		{target: "/slash?a=b", status: 301, location: "/slash/?a=b"},
		{target: "/form/", method: "POST", status: 307, location: "/form"},
	}
	trailingOff := []optCase{{target: "/ping/", status: 404}, {target: "/slash", status: 404}, {target: "/form/", method: "POST", status: 404}}
	fixedOff := []optCase{{target: "/FIXED/path", status: 404}, {target: "/x/..//Fixed/Path", status: 404}}
	method := []optCase{{target: "/form", status: 404}, {target: "/ping", method: "DELETE", status: 404}}
	escaped := []optCase{{target: "/users/a%2Fb", status: 404}, {target: "/users/a%20b", status: 200, route: "/users/:id", param: "a b"}}
	raw := []optCase{
		{target: "/users/a%2Fb", status: 200, route: "/users/:id", param: "a/b"},
		{target: "/users/a%20b", status: 200, route: "/users/:id", param: "a b"},
	}
	extra := []optCase{{target: "//ping", status: 404}, {target: "/users//7", status: 404}}
	tests := []struct {
		options string
		cases   []optCase
	}{
		{"", trailing},
		{"redirect_trailing_slash", trailing},
		{"redirect_trailing_slash false", trailingOff},
		{"", fixedOff},
		{"redirect_fixed_path false", fixedOff},
		{"redirect_fixed_path", []optCase{
			{target: "/FIXED/path?a=b", status: 301, location: "/Fixed/Path?a=b"},
			{target: "/x/..//Fixed/Path", status: 301, location: "/Fixed/Path"},
			{target: "/FORM", method: "POST", status: 307, location: "/form"},
		}},
		{"", method},
		{"handle_method_not_allowed false", method},
		{"handle_method_not_allowed", []optCase{
			{target: "/form", status: 405, allow: "POST, PUT"},
			{target: "/ping", method: "DELETE", status: 405, allow: "GET"},
			{target: "/nothing", status: 404},
		}},
		{"", escaped},
		{"use_raw_path false", escaped},
		{"use_raw_path", raw},
		{"use_raw_path\nunescape_path_values", raw},
		{"use_raw_path\nunescape_path_values false", []optCase{
			{target: "/users/a%2Fb", status: 200, route: "/users/:id", param: "a%2Fb"},
		}},
		{"", extra},
		{"remove_extra_slash false", extra},
		{"remove_extra_slash", []optCase{
			{target: "//ping", status: 200, route: "/ping"},
			{target: "/users//7", status: 200, route: "/users/:id", param: "7"},
		}},
	}
	s := testcaddy.Start(t, optSite("gin opt-routes"))
	for _, test := range tests { // one after the other: each is a configuration of the same server
		t.Run(test.options, func(t *testing.T) {
			if err := s.Reload(optSite("gin opt-routes {\n" + test.options + "\n}")); err != nil {
				t.Fatal(err)
			}
			for _, c := range test.cases {
				c.check(t, s)
			}
		})
	}
}
