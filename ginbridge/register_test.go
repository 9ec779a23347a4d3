package ginbridge

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/gin-gonic/gin"
)

// panicText returns the value that f panics with, as text.
func panicText(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	t.Error("no panic")
	return ""
}

// freeName returns a name that no app has, also when tests run repeatedly.
func freeName(prefix string) string {
	return fmt.Sprintf("%s-%d", prefix, freeNames.Add(1))
}

var freeNames atomic.Int64

func buildNothing(*App, *gin.Engine) error { return nil }

func TestRegisteredAppIsACaddyModule(t *testing.T) {
	name := freeName("reg-module_1")
	Register(name, buildNothing)
	info, err := caddy.GetModule("gin.apps." + name)
	if err != nil {
		t.Fatal(err)
	}
	first, second := info.New(), info.New()
	if first == second {
		t.Error("all loads get the same module")
	}
	builder, ok := first.(EngineBuilder)
	if !ok {
		t.Fatalf("%T is no EngineBuilder", first)
	}
	app, _ := newTestApp(t)
	engine, err := builder.BuildEngine(app)
	if err != nil || engine == nil || !engine.ContextWithFallback {
		t.Errorf("got %+v, %v; want an engine with ContextWithFallback", engine, err)
	}
}

func TestRegisterTwiceNamesBothPlaces(t *testing.T) {
	taken := freeName("reg-twice")
	Register(taken, buildNothing)
	place := `ginbridge/register_test\.go:\d+`
	want := regexp.MustCompile(`^ginbridge: app "` + taken + `" is registered twice: at (` + place + `) and at (` + place + `)$`)
	for name, again := range map[string]func(){
		"Register":       func() { Register(taken, buildNothing) },
		"RegisterEngine": func() { RegisterEngine(taken, func() (*gin.Engine, error) { return gin.New(), nil }) },
	} {
		text := panicText(t, again)
		places := want.FindStringSubmatch(text)
		if places == nil || places[1] == places[2] {
			t.Errorf("%s: got %q", name, text)
		}
	}
}

func TestRegisterRefusesInvalidNames(t *testing.T) {
	place := regexp.MustCompile(` at ginbridge/register_test\.go:\d+: use lower-case letters`)
	for _, name := range []string{"", "Shop", "1shop", "-shop", "_shop", "a shop", "a.shop", "a/shop", "läden", "shop\n"} {
		text := panicText(t, func() { Register(name, buildNothing) })
		if !strings.Contains(text, fmt.Sprintf("invalid app name %q", name)) || !place.MatchString(text) {
			t.Errorf("%q: got %q", name, text)
		}
		if slices.Contains(Names(), name) {
			t.Errorf("%q is registered", name)
		}
	}
}

func TestRegisterRefusesNoBuildFunction(t *testing.T) {
	name := freeName("reg-nil")
	for _, register := range []func(){
		func() { Register(name, nil) },
		func() { RegisterEngine(name, nil) },
	} {
		text := panicText(t, register)
		if !strings.Contains(text, fmt.Sprintf("app %q registered at ginbridge/register_test.go:", name)) ||
			!strings.Contains(text, "no build function") {
			t.Errorf("got %q", text)
		}
	}
	Register(name, buildNothing) // the name is still free
}

func TestCheckNameNamesTheRegisteredApps(t *testing.T) {
	zebra, ant := freeName("reg-zebra"), freeName("reg-ant")
	Register(zebra, buildNothing)
	Register(ant, buildNothing)
	names := Names()
	if !slices.IsSorted(names) || !slices.Contains(names, ant) || !slices.Contains(names, zebra) {
		t.Errorf("got the names %q", names)
	}
	if err := CheckName(ant); err != nil {
		t.Error(err)
	}
	err := CheckName("reg-aunt")
	want := `unknown Gin app "reg-aunt"; the registered apps are: ` + strings.Join(names, ", ")
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
