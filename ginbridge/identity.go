package ginbridge

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unsafe"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// clientIPHeader carries Caddy's client IP to Context.ClientIP, which reads
// the header that Engine.TrustedPlatform names before anything else. A value
// from the client is never let through.
const clientIPHeader = "Caddy-Gin-Client-Ip"

// forgeable are the headers by which proxies tell about the client, in
// canonical form. They are removed unless Caddy's trusted_proxies vouches for
// whoever sent them.
var forgeable = [...]string{
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix",
	"X-Real-Ip", "Forwarded",
}

// present returns the request as the app is to see it. It is r itself where
// nothing but headers differ.
func (s *slot) present(r *http.Request) *http.Request {
	if r.ContentLength == 0 {
		r.Body = http.NoBody // as net/http had it before Caddy wrapped it
	}
	s.body = trackBody(r)
	trusted := s.forgetForged(r.Header)
	ctx := s.ctx
	if ip, _ := s.vars[caddyhttp.ClientIPVarKey].(string); ip != "" && ip != "@" {
		if s.ip == nil || s.ip[0] != ip {
			s.ip = []string{ip}
		}
		r.Header[clientIPHeader] = s.ip
	} else {
		// a Unix socket whose peer names no client
		delete(r.Header, clientIPHeader)
		ctx = anonymous(ctx)
	}
	s.traced = len(s.vars) > 4 && s.vars["trace_id"] != nil // Caddy has three of its own, and the bridge one

	requestURI := r.RequestURI
	s.prefix = s.mount.opts.BasePath
	if original := originalRequest(s.ctx); original != nil {
		requestURI = original.RequestURI
		if stripped := strippedPrefix(original.URL.Path, r.URL.Path); stripped != "" {
			s.prefix = stripped + s.prefix
		}
	}
	if trusted {
		s.prefix = cleanPrefix(r.Header.Get("X-Forwarded-Prefix")) + s.prefix
	}
	if s.prefix != "" {
		r.Header["X-Forwarded-Prefix"] = []string{s.prefix}
	}

	if ctx == s.ctx && requestURI == r.RequestURI && s.mount.opts.BasePath == "" {
		return r
	}
	own := new(struct {
		request http.Request
		url     url.URL
	})
	own.url = *r.URL
	own.url.Path, own.url.RawPath = s.path, s.rawPath
	if ctx != s.ctx {
		r = r.WithContext(ctx)
	}
	own.request = *r
	own.request.URL = &own.url
	own.request.RequestURI = requestURI
	return &own.request
}

// forgetForged removes what the client may have forged. It reports whether there is
// something of a proxy that Caddy trusts.
func (s *slot) forgetForged(header http.Header) (trusted bool) {
	for _, name := range forgeable {
		if _, sent := header[name]; !sent { // a delete that finds nothing takes longer
			continue
		}
		if trusted, _ = s.vars[caddyhttp.TrustedProxyVarKey].(bool); trusted {
			return true
		}
		delete(header, name)
	}
	return false
}

// originalRequest returns the request as it was before Caddy's rewrites, which
// is not to be changed, or nil.
func originalRequest(ctx context.Context) *http.Request {
	v := ctx.Value(caddyhttp.OriginalRequestCtxKey)
	if _, ok := v.(http.Request); !ok {
		return nil
	}
	// the value is what the data word of the interface points to; copying it
	// out is a good part of what the bridge costs
	return (*http.Request)((*[2]unsafe.Pointer)(unsafe.Pointer(&v))[1])
}

// strippedPrefix returns what handle_path and the like took off the path.
func strippedPrefix(original, now string) string {
	if len(original) <= len(now) || !strings.HasSuffix(original, now) {
		return ""
	}
	return cleanPrefix(original[:len(original)-len(now)])
}

// cleanPrefix returns p as a prefix of paths: "" or "/a/b". No prefix starts
// with two slashes, which would make a redirect lead to another host.
func cleanPrefix(p string) string {
	if p == "" {
		return ""
	}
	if p = path.Clean("/" + strings.ReplaceAll(p, `\`, "/")); p == "/" {
		return ""
	}
	return p
}

// cutPrefix takes base, which has no trailing slash, off p; ok is false
// unless p is base or below it.
func cutPrefix(p, base string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(p, base)
	switch {
	case !ok:
		return "", false
	case rest == "":
		return "/", true
	}
	return rest, rest[0] == '/'
}

// cutRawPrefix takes base off an escaped path, which may have escaped it in
// its own way. It returns "" if there is nothing left that needs a RawPath.
func cutRawPrefix(raw, base string) string {
	for base != "" {
		if raw == "" {
			return ""
		}
		char, n := raw[0], 1
		if char == '%' && len(raw) > 2 {
			code, err := strconv.ParseUint(raw[1:3], 16, 8)
			if err != nil {
				return ""
			}
			char, n = byte(code), 3
		}
		if char != base[0] {
			return ""
		}
		raw, base = raw[n:], base[1:]
	}
	return raw
}

// anonymousContext hides from Gin that the connection came through a Unix
// socket: Gin would take the client's own headers for the client IP then.
type anonymousContext struct{ context.Context }

func anonymous(ctx context.Context) context.Context { return anonymousContext{ctx} }

func (c anonymousContext) Value(key any) any {
	v := c.Context.Value(key)
	if addr, ok := v.(net.Addr); ok && key == http.LocalAddrContextKey {
		return localAddr{addr}
	}
	return v
}

// localAddr is the address of a Unix socket by another name of network.
type localAddr struct{ net.Addr }

func (localAddr) Network() string { return "local" }
