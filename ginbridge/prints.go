package ginbridge

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/gin-gonic/gin"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Gin prints to process-wide writers and hooks without synchronisation. They
// are led to Caddy's log here, once, before any app can be built.
func init() {
	gin.DefaultWriter = logWriter(zapcore.InfoLevel)
	gin.DefaultErrorWriter = logWriter(zapcore.ErrorLevel)
	gin.DebugPrintFunc = func(format string, values ...any) {
		text := strings.TrimSpace(fmt.Sprintf(format, values...))
		text, warning := strings.CutPrefix(text, "[WARNING] ")
		switch {
		case strings.HasPrefix(text, `Running in "debug" mode`):
			// the operator asked for it, and not by the means it proposes
		case warning:
			ginLogger().Warn(text)
		default:
			ginLogger().Info(text)
		}
	}
	gin.DebugPrintRouteFunc = func(method, path, handler string, handlers int) {
		if strings.HasSuffix(handler, "/ginbridge.doNothing") {
			return // a router's copy of the route
		}
		ginLogger().Info("route", zap.String("method", method), zap.String("path", path),
			zap.String("handler", handler), zap.Int("handlers", handlers))
	}
	if gin.Mode() == gin.DebugMode {
		gin.SetMode(gin.ReleaseMode) // until a configuration says otherwise
	}
}

func ginLogger() *zap.Logger { return caddy.Log().Named("gin") }

// logWriter makes each write a log entry of its level.
type logWriter zapcore.Level

// terminalCodes are the colours of gin.Recovery.
var terminalCodes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Write implements [io.Writer].
func (level logWriter) Write(b []byte) (int, error) {
	text := bytes.TrimSpace(terminalCodes.ReplaceAll(b, nil))
	if len(text) == 0 {
		return len(b), nil
	}
	if entry := ginLogger().Check(zapcore.Level(level), string(text)); entry != nil {
		entry.Write()
	}
	return len(b), nil
}
