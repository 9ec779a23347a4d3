package ginbridgetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func init() {
	caddy.RegisterModule(new(logCore))
}

// logCore is a Caddy module that writes a log to that of a test. Being
// configured by JSON, it names the test by a number.
type logCore struct {
	Log          uint64 `json:"log"`
	zapcore.Core `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (*logCore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.logging.cores.ginbridgetest",
		New: func() caddy.Module { return new(logCore) },
	}
}

// Provision finds the test.
func (c *logCore) Provision(caddy.Context) error {
	out, ok := testLogs.Load(c.Log)
	if !ok {
		return fmt.Errorf("no test has the log %d", c.Log)
	}
	config := zap.NewDevelopmentEncoderConfig()
	config.TimeKey = ""
	c.Core = zapcore.NewCore(zapcore.NewConsoleEncoder(config), out.(*testLog), zapcore.InfoLevel)
	return nil
}

// logging returns the log configuration of a test.
func logging(log uint64) *caddy.Logging {
	core := caddyconfig.JSONModuleObject(&logCore{Log: log}, "module", "ginbridgetest", nil)
	return &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{
			WriterRaw: []byte(`{"output":"discard"}`),
			CoreRaw:   core,
		}, Exclude: []string{"tls", "http.auto_https"}}, // about certificates, which no test has
	}}
}

// testLogs has a *testLog for each number in use.
var (
	testLogs    sync.Map
	lastTestLog atomic.Uint64
)

// testLog is the log of a test until its end, after which testing.TB panics.
type testLog struct {
	mu sync.Mutex
	t  testing.TB // nil after the end
}

// openLog returns a number for logging, and what is to be called at the end.
func openLog(t testing.TB) (log uint64, end func()) {
	out := &testLog{t: t}
	log = lastTestLog.Add(1)
	testLogs.Store(log, out)
	return log, func() {
		testLogs.Delete(log)
		out.mu.Lock()
		defer out.mu.Unlock()
		out.t = nil
	}
}

// Write implements [zapcore.WriteSyncer].
func (l *testLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t == nil {
		return len(b), nil
	}
	return l.t.Output().Write(b)
}

// Sync implements [zapcore.WriteSyncer].
func (l *testLog) Sync() error { return nil }

// Interface guards
var (
	_ caddy.Provisioner   = (*logCore)(nil)
	_ zapcore.Core        = (*logCore)(nil)
	_ zapcore.WriteSyncer = (*testLog)(nil)
)
