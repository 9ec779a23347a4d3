package ginbridgetest_test

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// fakeT stands for the *testing.T of a test that may fail.
type fakeT struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
	errors   []string
	log      io.Writer
}

func newT() *fakeT { return &fakeT{log: io.Discard} }

func (t *fakeT) Helper() {}

func (t *fakeT) Output() io.Writer { return t.log }

func (t *fakeT) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *fakeT) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errors = append(t.errors, fmt.Sprintf(format, args...))
}

func (t *fakeT) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(t)
}

// end ends the test and returns its errors.
func (t *fakeT) end() []string {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
	return t.errors
}

// await waits for a channel to be closed, or to yield something.
func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("waited in vain: %s", what)
	}
}
