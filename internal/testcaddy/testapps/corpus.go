package testapps

import (
	"html/template"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// The corpus is three apps written against plain Gin, by the same functions
// for Caddy and for net/http: the test compares the answers.
func init() {
	ginbridge.RegisterEngine("corpus-all", func() (*gin.Engine, error) { return CorpusAll(corpusEnv()), nil })
	ginbridge.RegisterEngine("corpus-bare", func() (*gin.Engine, error) { return CorpusBare(), nil })
	ginbridge.RegisterEngine("corpus-raw", func() (*gin.Engine, error) { return CorpusRaw(corpusEnv()), nil })
}

// Corpus is what the apps need from outside.
type Corpus struct {
	Files    string // a folder of files to serve, and to save uploads in
	Upstream string // the URL of a server to proxy
}

func corpusEnv() Corpus {
	return Corpus{os.Getenv("CORPUS_FILES"), os.Getenv("CORPUS_UPSTREAM")}
}

func (c Corpus) file(name string) string { return filepath.Join(c.Files, name) }

// corpusHandlers are the handlers of one kind, by method and path.
type corpusHandlers map[string]map[string]gin.HandlerFunc

func (h corpusHandlers) add(r gin.IRoutes) {
	// Gin lists the methods of an Allow header in the order of registration
	for _, method := range slices.Sorted(maps.Keys(h)) {
		for path, handler := range h[method] {
			r.Handle(method, path, handler)
		}
	}
}

// CorpusAll is the app with one handler for each of Gin's own ways.
func CorpusAll(corpus Corpus) *gin.Engine {
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.SetHTMLTemplate(template.Must(template.New("page").Parse(`<h1>{{ .Title }}</h1>`)))
	r.NoRoute(func(c *gin.Context) { c.JSON(http.StatusNotFound, gin.H{"no": "route"}) })
	r.NoMethod(func(c *gin.Context) { c.JSON(http.StatusMethodNotAllowed, gin.H{"no": c.Request.Method}) })
	corpusRender(corpus).add(r)
	corpusRequest().add(r)
	corpusBinding().add(r)
	corpusUploads(corpus).add(r)
	corpusWriter().add(r)
	corpusFlow(r)
	corpusNetHTTP(r, corpus)
	return r
}

// CorpusBare is an app with Gin's defaults.
func CorpusBare() *gin.Engine {
	r := gin.Default()
	where := func(c *gin.Context) { c.String(http.StatusOK, "%s %s", c.FullPath(), c.Request.URL) }
	r.GET("/", where)
	r.GET("/plain", where)
	r.GET("/slash/", where)
	r.Any("/any", where)
	r.Match([]string{http.MethodGet, "PROPFIND"}, "/match", where)
	r.GET("/wild/*rest", where)
	r.GET("/users/:id", where)
	r.GET(`/colon\:literal`, where)
	r.GET("/panic", func(*gin.Context) { panic("for gin.Recovery") })
	return r
}

// CorpusRaw is an app with all that is off by default.
func CorpusRaw(corpus Corpus) *gin.Engine {
	r := gin.New()
	r.UseRawPath, r.UnescapePathValues = true, false
	r.RemoveExtraSlash, r.RedirectFixedPath, r.HandleMethodNotAllowed = true, true, true
	r.ContextWithFallback = true
	r.Delims("[[", "]]")
	r.LoadHTMLGlob(corpus.file("*.tmpl"))
	r.GET("/template", func(c *gin.Context) { c.HTML(http.StatusOK, "corpus.tmpl", gin.H{"Name": "<raw>"}) })
	r.GET("/users/:id/*rest", func(c *gin.Context) {
		c.String(http.StatusOK, "%q %q %v", c.Param("id"), c.Param("rest"), c.Done() != nil)
	})
	r.GET("/Fixed/Path", func(c *gin.Context) { c.String(http.StatusOK, c.FullPath()) })
	r.POST("/only", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	r.PUT("/only", func(c *gin.Context) { c.Status(http.StatusNoContent) })
	r.POST("/body", func(c *gin.Context) {
		n, err := io.Copy(io.Discard, c.Request.Body)
		c.String(http.StatusOK, "%d %v", n, err)
	})
	return r
}
