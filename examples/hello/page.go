package hello

import (
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

//go:embed static templates
var files embed.FS

// pages parses the templates. They are part of the program, so that a failure
// is a mistake in it.
func pages() *template.Template {
	return template.Must(template.ParseFS(files, "templates/*.html"))
}

// static serves the files below static, without listings of directories.
func static() gin.HandlerFunc {
	dir, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the path is a constant
	}
	return func(c *gin.Context) {
		name := strings.TrimPrefix(c.Param("filepath"), "/")
		if info, err := fs.Stat(dir, name); err != nil || info.IsDir() {
			c.String(http.StatusNotFound, "no such file\n")
			return
		}
		http.ServeFileFS(c.Writer, c.Request, dir, name)
	}
}

// command is a route with its example, as the index page shows it.
type command struct {
	route
	Example string
}

func (s *server) index(c *gin.Context) {
	url := ginbridge.Scheme(c) + "://" + c.Request.Host + ginbridge.Prefix(c)
	curl := "curl "
	if host := strings.Split(c.Request.Host, ":")[0]; host == "localhost" && strings.HasPrefix(url, "https:") {
		curl = "curl -k " // a certificate that only Caddy's own CA vouches for
	}
	type section struct {
		Title    string
		Commands []command
	}
	var sections []section
	for _, g := range s.table() {
		sec := section{Title: g.Title}
		for _, rt := range g.Routes {
			example := strings.NewReplacer("curl ", curl, "$URL", url).Replace(rt.example)
			sec.Commands = append(sec.Commands, command{rt, example})
		}
		sections = append(sections, sec)
	}
	c.HTML(http.StatusOK, "index.html", gin.H{
		"Title":    s.cfg.Greeting,
		"Base":     base(c),
		"Tags":     s.cfg.Tags,
		"Sections": sections,
	})
}

func (s *server) page(c *gin.Context) {
	c.HTML(http.StatusOK, "page.html", gin.H{
		"Title": s.cfg.Greeting,
		"Name":  c.DefaultQuery("name", "visitor"),
		"Proto": c.Request.Proto,
		"IP":    c.ClientIP(),
	})
}

// base returns what the links of the index page are relative to, or "" where
// that is the address of the page. It is not where the app is mounted at /app
// and the page was asked for as /app, without a slash. The answer is relative
// too, to be right behind a proxy that strips a prefix of its own.
func base(c *gin.Context) string {
	asked := ginbridge.Placeholder(c, "http.request.orig_uri.path")
	if asked == "" || strings.HasSuffix(asked, "/") {
		return ""
	}
	return path.Base(asked) + "/"
}
