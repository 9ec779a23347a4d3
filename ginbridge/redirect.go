package ginbridge

import (
	"html"
	"net/http"
	"net/url"
	"strings"
)

// fixRedirect corrects a redirect of Gin's own, to the path with or without a
// trailing slash or to the fixed path:
//
//   - a path that begins with two slashes would lead to another host;
//   - an app whose prefix was stripped needs it again. Gin knows of
//     X-Forwarded-Prefix, but drops all but letters, digits, "/" and "-" from
//     it, and forgets it for fixed paths.
//
// It returns the body to send instead of Gin's, or "" if nothing was wrong or
// the redirect is the app's.
func (s *slot) fixRedirect(h http.Header) (body string) {
	location := h.Get("Location")
	if location == "" || s.c.Handler() != nil || s.prefix == "" && !strings.HasPrefix(location, "//") {
		return ""
	}
	target := s.c.Request.URL.Path
	toggled, slash := strings.CutSuffix(s.path, "/")
	if !slash {
		toggled += "/"
	}
	if strings.HasSuffix(target, toggled) { // Gin may have put its prefix before it
		target = toggled
	}
	to := url.URL{
		Path:     s.prefix + "/" + strings.TrimLeft(target, "/"),
		RawQuery: s.c.Request.URL.RawQuery,
	}
	h.Set("Location", to.String())
	if s.c.Request.Method != http.MethodGet {
		return ""
	}
	return `<a href="` + html.EscapeString(to.String()) + `">` + http.StatusText(http.StatusMovedPermanently) + "</a>.\n\n"
}
