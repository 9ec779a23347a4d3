package ginbridge

import (
	"bytes"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// panicError is the error made of a panic.
type panicError struct {
	value any
	where string // file and line of the app, or ""
	stack []byte
}

// newPanicError is called by the deferred function that recovered value.
func newPanicError(value any) *panicError {
	return &panicError{value, panickedAt(), debug.Stack()}
}

// Error says what the panic was about and which line of the app it came from.
func (p *panicError) Error() string {
	if p.where == "" {
		return fmt.Sprintf("panic: %v", p.value)
	}
	return fmt.Sprintf("panic: %v (at %s)", p.value, p.where)
}

// Unwrap returns the value of the panic if it is an error.
func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// guard calls f and returns its error, or its panic as an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = newPanicError(r)
		}
	}()
	return f()
}

// panickedAt returns the innermost place on the panicking stack that is
// neither Go's nor Gin's own: where the app made its mistake.
func panickedAt() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs[:])])
	panicking := false
	for {
		frame, more := frames.Next()
		switch {
		case strings.HasPrefix(frame.Function, "runtime."):
			panicking = panicking || frame.Function == "runtime.gopanic"
		case !panicking, strings.HasPrefix(frame.Function, "github.com/gin-gonic/gin."),
			strings.HasPrefix(frame.Function, "html/template."):
		case strings.Contains(frame.Function, "/ginbridge."):
			return ""
		default:
			dir, file := filepath.Split(frame.File)
			return fmt.Sprintf("%s/%s:%d", filepath.Base(dir), file, frame.Line)
		}
		if !more {
			return ""
		}
	}
}

// appStack cuts a stack to what lies between the panic and the bridge: the
// app's own frames, and Gin's between them.
func appStack(stack []byte) []byte {
	if i := bytes.Index(stack, []byte("\npanic(")); i >= 0 {
		stack = stack[i+1:]
	}
	if i := bytes.Index(stack, []byte("github.com/gin-gonic/gin.(*Engine).handleHTTPRequest(")); i >= 0 {
		stack = stack[:i]
	}
	return bytes.TrimSpace(stack)
}
