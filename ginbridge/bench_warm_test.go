package ginbridge_test

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// BenchmarkWarm serves the same prepared request again and again, by a bare
// engine and through the bridge: what the bridge costs with everything in the
// processor's caches. BenchmarkDifference has the preparation of a request
// between, which drives part of it out.
func BenchmarkWarm(b *testing.B) {
	for _, path := range []string{"/ping", "/static"} {
		for _, side := range []string{"bare", "bridge"} {
			b.Run(path[1:]+"/"+side, func(b *testing.B) {
				bare, bridge := benchSites(b, "plain")
				s := bare
				if side == "bridge" {
					s = bridge
				}
				c := s.prepare(b, "GET "+path+" HTTP/1.1\r\n"+benchCurl)
				repl := c.r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
				fresh := *repl
				vars := c.r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
				b.ReportAllocs()
				for b.Loop() {
					*repl = fresh // the bridge adds a provider and a variable each time
					delete(vars, "http.gin")
					s.do(b, c)
				}
			})
		}
	}
}
