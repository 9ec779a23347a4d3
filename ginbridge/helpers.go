package ginbridge

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/gin-gonic/gin"
	"go.uber.org/zap"
)

// slotOf returns the slot that serves the request of c, or nil if the engine
// is not served by Caddy, as in a unit test.
//
// The request may be over, where c is a copy that a goroutine kept: of a slot
// that may serve another one, only mount is to be used unless s.c is c.
func slotOf(c *gin.Context) *slot {
	s, _ := caddyVar(c, slotVar).(*slot)
	return s
}

func caddyVar(c *gin.Context, name string) any {
	if c.Request == nil {
		return nil
	}
	vars, _ := c.Request.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	return vars[name]
}

// Draining returns a channel that is closed when the configuration that
// serves the request is being replaced or the process stops. A handler that
// streams should then end its stream, so that the client can come back to the
// new configuration. Without Caddy the channel is nil: it never closes.
func Draining(c *gin.Context) <-chan struct{} {
	if s := slotOf(c); s != nil {
		return s.mount.gen.Draining()
	}
	return nil
}

// Logger returns the logger of the app that serves the request. Without Caddy
// it logs nothing.
func Logger(c *gin.Context) *zap.Logger {
	if s := slotOf(c); s != nil {
		return s.mount.app.logger
	}
	return zap.NewNop()
}

// ClientIP returns the IP address of the client as Caddy determined it by its
// trusted_proxies, or "" if there is none, as over a Unix socket. It is what
// Context.ClientIP returns, unless the app changed how that works.
func ClientIP(c *gin.Context) string {
	ip, ok := caddyVar(c, caddyhttp.ClientIPVarKey).(string)
	switch {
	case !ok:
		return c.ClientIP()
	case ip == "@":
		return ""
	}
	return ip
}

// Scheme returns "https" or "http", as the client used it: Caddy's own
// knowledge, or X-Forwarded-Proto if it comes from a trusted proxy.
func Scheme(c *gin.Context) string {
	if trusted, _ := caddyVar(c, caddyhttp.TrustedProxyVarKey).(bool); trusted {
		if proto := c.Request.Header.Get("X-Forwarded-Proto"); proto == "https" || proto == "http" {
			return proto
		}
	}
	if c.Request.TLS != nil {
		return "https"
	}
	return "http"
}

// Prefix returns the prefix of the client's path that the app does not see,
// because base_path, handle_path or a trusted proxy stripped it, or "". Links
// and cookie paths of the app begin with it.
func Prefix(c *gin.Context) string {
	if slotOf(c) == nil {
		return ""
	}
	return cleanPrefix(c.GetHeader("X-Forwarded-Prefix"))
}

// Fail hands the request over to Caddy with a status and an error, as
// Caddy's own handlers do: handle_errors answers it, with
// {http.error.message} set to the error's text. It aborts the handlers that
// are left; the caller should return. If the answer has begun already, the
// error is logged and the connection is aborted.
//
// Without Caddy it is Context.AbortWithError.
func Fail(c *gin.Context, status int, err error) {
	s := slotOf(c)
	if s == nil || s.c != c {
		_ = c.AbortWithError(status, err)
		return
	}
	if err == nil {
		err = errors.New(http.StatusText(status))
	}
	_ = c.Error(err)
	c.Abort()
	if !s.writer.wrote {
		c.Status(status) // for middleware that looks at it
	}
	s.failure = caddyhttp.Error(status, err)
}

// EarlyHints sends the status 103 with one Link header for each of links,
// such as "</style.css>; rel=preload; as=style", so that the client can fetch
// them while the handler is working. The links are part of the final answer,
// too. It fails where the request is not served by Caddy, and after the
// answer has begun. (Context.Status(103) would be the final status to Gin.)
func EarlyHints(c *gin.Context, links ...string) error {
	s := slotOf(c)
	if s == nil || s.c != c {
		return http.ErrNotSupported
	}
	if s.writer.wrote || s.writer.hijacked {
		return errors.New("early hints: the answer has begun already")
	}
	for _, link := range links {
		c.Writer.Header().Add("Link", link)
	}
	s.writer.WriteHeader(http.StatusEarlyHints)
	return nil
}

// Placeholder returns the value of one of Caddy's placeholders for this
// request, given without braces, such as "http.request.uuid". It is "" if the
// placeholder is unknown, the request is not served by Caddy, or its timeout has
// passed.
func Placeholder(c *gin.Context, name string) string {
	if c.Request == nil {
		return ""
	}
	repl, ok := c.Request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	var value string
	get := func() { value, _ = repl.GetString(name) }
	if w := timeoutOf(c); w != nil {
		w.unlessExpired(get)
	} else {
		get()
	}
	return value
}
