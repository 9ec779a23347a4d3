package e2e

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

func TestSharedValueIsOpenedOnceAndClosedAtExit(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("0", "key k"))
	for i := 1; i <= 50; i++ {
		lifeReload(t, s, lifeApp(strconv.Itoa(i), "key k"))
	}
	lifeAwait(t, s.Dir, "release 49 last") // so are those before it, or they are about to be
	if got := lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/value")); got != "50" {
		t.Errorf("got %q", got)
	}
	if n := lifeCount(t, s.Dir, "close k"); n != 0 {
		t.Errorf("closed %d times while in use", n)
	}
	s.Stop()
	for i := range 51 {
		value := strconv.Itoa(i)
		if n := lifeCount(t, s.Dir, "release "+value+" last"); n != 1 {
			t.Errorf("configuration %s was released %d times", value, n)
		}
	}
	book := lifeBook(t, s.Dir)
	opened, closed := slices.Index(book, "open k"), slices.Index(book, "close k")
	if lifeCount(t, s.Dir, "open k") != 1 || lifeCount(t, s.Dir, "close k") != 1 || opened > closed {
		t.Errorf("opened and closed once is expected:\n%s", strings.Join(book, "\n"))
	}
}

func TestSharedValueOfAnotherKeyIsClosedAfterItsLastRequest(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("1", "key k1"))
	hold := lifeStartHold(t, s, "1")
	lifeOutlast(t, s, "2", "key k2")
	if n := lifeCount(t, s.Dir, "close k1"); n != 0 {
		t.Error("closed under a request")
	}
	if last := hold.let(); last != "1" {
		t.Errorf("the request ended with %q", last)
	}
	lifeAwait(t, s.Dir, "close k1")
	if n := lifeCount(t, s.Dir, "close k2"); n != 0 {
		t.Error("closed, though the running configuration has it")
	}
}

func TestSharedValueThatCannotBeOpenedRefusesTheLoad(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("good"))
	for i := range 10 {
		value := "bad" + strconv.Itoa(i)
		lifeRefused(t, s, lifeApp(value, "key k", "open error"), `"life-main"`, `"k"`, "cannot open for "+value)
		lifeRefused(t, s, lifeApp(value, "key k", "open panic"), `"life-main"`, `"k"`, "opening panics for "+value)
	}
	if got := lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/value")); got != "good" {
		t.Errorf("the running configuration answers %q", got)
	}
	lifeReload(t, s, lifeApp("better", "key k"))
	if got := lifeGet(t, testcaddy.Client(t, "http"), s.HTTP("/value")); got != "better" {
		t.Errorf("the next try answers %q", got)
	}
	s.Stop()
	if opened, closed := lifeCount(t, s.Dir, "open k"), lifeCount(t, s.Dir, "close k"); opened != 1 || closed != 1 {
		t.Errorf("opened %d times and closed %d times", opened, closed)
	}
}

func TestConfigurationsThatFailLeaveNoReferenceToASharedValue(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("good", "key k"))
	for i := 1; i <= 5; i++ {
		value := "bad" + strconv.Itoa(i)
		// one that nobody else has is closed with the configuration that failed
		lifeRefused(t, s, lifeApp(value, "key own", "fail error"), "the build fails for "+value)
		lifeRefused(t, s, lifeApp(value, "key own", "fail panic"), "the build panics for "+value)
		if opened, closed := lifeCount(t, s.Dir, "open own"), lifeCount(t, s.Dir, "close own"); opened != 2*i || closed != 2*i {
			t.Errorf("opened %d times and closed %d times, want %d", opened, closed, 2*i)
		}
		// one that is in use stays, and is not held by the failure
		lifeRefused(t, s, lifeApp(value, "key k", "fail error"), "the build fails for "+value)
		lifeLoadLateFailure(t, s, lifeApp("late"+value, "key k"), false)
	}
	lifeAwait(t, s.Dir, "release latebad5 last")
	if opened, closed := lifeCount(t, s.Dir, "open k"), lifeCount(t, s.Dir, "close k"); opened != 1 || closed != 0 {
		t.Errorf("opened %d times and closed %d times", opened, closed)
	}
	lifeReload(t, s, lifeApp("better"))
	lifeAwait(t, s.Dir, "close k")
}

func TestSharedValuesOfTheSameKeyAndDifferentTypesDoNotMeet(t *testing.T) {
	t.Parallel()
	s := testcaddy.Start(t, lifeApp("one", "key k"))
	both := testcaddy.Config{Sites: "http://localhost:$HTTP {\nhandle_path /other/* {\n" +
		lifeDirective("two", "key k", "other true") + "}\nhandle {\n" + lifeDirective("one", "key k") + "}\n}"}.Strict()
	lifeReload(t, s, both)
	client := testcaddy.Client(t, "http")
	for path, want := range map[string]string{"/value": "one", "/other/value": "two"} {
		if got := lifeGet(t, client, s.HTTP(path)); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	if n := lifeCount(t, s.Dir, "open k"); n != 2 {
		t.Errorf("%d values are open, want one of each type", n)
	}
	lifeReload(t, s, lifeApp("three", "key k", "other true")) // closes the first type only
	lifeAwait(t, s.Dir, "close k")
	if got := lifeGet(t, client, s.HTTP("/value")); got != "three" {
		t.Errorf("got %q", got)
	}
	s.Stop()
	if opened, closed := lifeCount(t, s.Dir, "open k"), lifeCount(t, s.Dir, "close k"); opened != 2 || closed != 2 {
		t.Errorf("opened %d times and closed %d times", opened, closed)
	}
}
