package ginbridge

import (
	"fmt"
	"io"
	"reflect"

	"github.com/caddyserver/caddy/v2"
)

// shared holds the values of Shared for the whole process.
var shared = caddy.NewUsagePool()

// sharedKey tells values of different types apart, so that two apps that use
// the same key for different things do not meet.
type sharedKey struct {
	key string
	typ reflect.Type
}

// sharedValue closes its value when the last user is gone.
type sharedValue struct{ value any }

// holds notes that the generation uses a shared value.
func (g *Generation) holds(k sharedKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shared[k] = struct{}{}
}

// Destruct implements [caddy.Destructor].
func (s sharedValue) Destruct() error {
	switch v := s.value.(type) {
	case caddy.Destructor:
		return v.Destruct()
	case io.Closer:
		return v.Close()
	}
	return nil
}

// Shared returns a value that survives reloads, such as a database pool or a
// cache: it is opened by the first configuration that asks for the key and
// used by all that ask for it later. When the last one that uses it is
// released (see [App.OnRelease]), it is closed, if it has a method Close or
// Destruct.
//
// A value is found by key and type T, in the whole process: put all that
// makes it what it is into the key, for example "db:"+dsn. open runs without
// any lock that other keys wait for; an error or a panic of it is returned,
// and the next call tries again.
func Shared[T any](app *App, key string, open func() (T, error)) (T, error) {
	var zero T
	k := sharedKey{key, reflect.TypeFor[T]()}
	v, _, err := shared.LoadOrNew(k, func() (caddy.Destructor, error) {
		var value T
		// a panic would leave the pool's entry locked for good
		err := guard(func() (err error) {
			value, err = open()
			return err
		})
		if err != nil {
			return nil, err
		}
		return sharedValue{value}, nil
	})
	if err != nil {
		return zero, fmt.Errorf("opening shared value %q: %w", key, err)
	}
	app.gen.holds(k)
	app.OnRelease(func() error {
		_, err := shared.Delete(k)
		if err != nil {
			return fmt.Errorf("closing shared value %q: %w", key, err)
		}
		return nil
	})
	value, _ := v.(sharedValue).value.(T) // a nil interface value is T's zero
	return value, nil
}
