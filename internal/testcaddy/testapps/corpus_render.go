package testapps

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// corpusThing is what is rendered and bound.
type corpusThing struct {
	Name string   `json:"name" xml:"name" yaml:"name" toml:"name" form:"name" header:"X-Name" uri:"name" binding:"required,min=2"`
	Age  int      `json:"age" xml:"age" yaml:"age" toml:"age" form:"age" header:"X-Age" uri:"age" binding:"gte=0,lte=150"`
	Tags []string `json:"tags" xml:"tag" yaml:"tags" toml:"tags" form:"tags"`
}

// corpusRender has the ways to answer.
func corpusRender(corpus Corpus) corpusHandlers {
	thing := corpusThing{Name: "ä<b>&\u2028", Age: 7, Tags: []string{"x", "y"}}
	get := map[string]gin.HandlerFunc{
		"/json":         func(c *gin.Context) { c.JSON(http.StatusOK, thing) },
		"/indented":     func(c *gin.Context) { c.IndentedJSON(http.StatusCreated, thing) },
		"/secure":       func(c *gin.Context) { c.SecureJSON(http.StatusOK, []int{1, 2}) },
		"/jsonp":        func(c *gin.Context) { c.JSONP(http.StatusOK, thing) },
		"/ascii":        func(c *gin.Context) { c.AsciiJSON(http.StatusOK, thing) },
		"/pure":         func(c *gin.Context) { c.PureJSON(http.StatusOK, thing) },
		"/xml":          func(c *gin.Context) { c.XML(http.StatusOK, thing) },
		"/yaml":         func(c *gin.Context) { c.YAML(http.StatusOK, thing) },
		"/toml":         func(c *gin.Context) { c.TOML(http.StatusOK, thing) },
		"/protobuf":     func(c *gin.Context) { c.ProtoBuf(http.StatusOK, wrapperspb.String("corpus")) },
		"/bson":         func(c *gin.Context) { c.BSON(http.StatusOK, thing) },
		"/string":       func(c *gin.Context) { c.String(http.StatusOK, "%s is %d", "it", 1) },
		"/html":         func(c *gin.Context) { c.HTML(http.StatusOK, "page", gin.H{"Title": "<corpus>"}) },
		"/data":         func(c *gin.Context) { c.Data(http.StatusOK, "image/x-corpus", []byte{0, 1, 2, 255}) },
		"/data/none":    func(c *gin.Context) { c.Data(http.StatusOK, "application/x-none", nil) },
		"/file":         func(c *gin.Context) { c.File(corpus.file("page.html")) },
		"/file/large":   func(c *gin.Context) { c.File(corpus.file("large.bin")) },
		"/file/missing": func(c *gin.Context) { c.File(corpus.file("missing")) },
		"/attachment":   func(c *gin.Context) { c.FileAttachment(corpus.file("page.html"), "naïve \"name\".html") },
		"/fromfs":       func(c *gin.Context) { c.FileFromFS("page.html", gin.Dir(corpus.Files, false)) },
		"/fromfs/dir":   func(c *gin.Context) { c.FileFromFS("/sub/", gin.Dir(corpus.Files, true)) },
		"/negotiate": func(c *gin.Context) {
			c.Negotiate(http.StatusOK, gin.Negotiate{
				Offered:  []string{gin.MIMEJSON, gin.MIMEXML, gin.MIMEYAML, gin.MIMEHTML, gin.MIMETOML},
				HTMLName: "page", HTMLData: gin.H{"Title": "negotiated"}, Data: thing,
			})
		},
		"/reader": func(c *gin.Context) {
			c.DataFromReader(http.StatusOK, 6, "text/x-reader", strings.NewReader("reader"), map[string]string{"X-Extra": "yes"})
		},
		"/reader/unknown": func(c *gin.Context) {
			c.DataFromReader(http.StatusOK, -1, "text/x-reader", strings.NewReader(strings.Repeat("r", 5000)), nil)
		},
		"/reader/short": func(c *gin.Context) { // the connection must not be kept
			c.DataFromReader(http.StatusOK, 100, "text/x-reader", strings.NewReader("short"), nil)
		},
		"/redirect/:code": func(c *gin.Context) {
			code := map[string]int{"301": 301, "302": 302, "303": 303, "307": 307, "308": 308, "201": 201}[c.Param("code")]
			c.Redirect(code, "/json?from=ä")
		},
		"/redirect-elsewhere": func(c *gin.Context) { c.Redirect(http.StatusFound, "https://other.test/") },
		"/status/201":         func(c *gin.Context) { c.Status(http.StatusCreated) },
		"/status/204":         func(c *gin.Context) { c.Status(http.StatusNoContent) },
		"/status/204/json":    func(c *gin.Context) { c.JSON(http.StatusNoContent, thing) },
		"/status/304":         func(c *gin.Context) { c.Header("ETag", `"x"`); c.Status(http.StatusNotModified) },
		"/status/418":         func(c *gin.Context) { c.String(http.StatusTeapot, "short and stout") },
		"/status/599":         func(c *gin.Context) { c.Status(599) },
		"/nothing":            func(*gin.Context) {},
		"/cookies": func(c *gin.Context) {
			got, err := c.Cookie("session")
			c.SetSameSite(http.SameSiteStrictMode)
			c.SetCookie("session", got+" next&", 60, "/", "corpus.test", true, true)
			c.SetCookie("gone", "", -1, "", "", false, false)
			c.SetCookieData(&http.Cookie{Name: "data", Value: "v", Partitioned: true, Secure: true})
			c.String(http.StatusOK, "%q %v", got, err)
		},
		"/headers": func(c *gin.Context) {
			c.Header("x-lower-case", "1")
			c.Header("X-Removed", "1")
			c.Header("X-Removed", "")
			c.Writer.Header().Add("X-Many", "b")
			c.Writer.Header().Add("X-Many", "a")
			c.Writer.Header()["Content-Type"] = nil // no sniffing
			_, _ = c.Writer.WriteString("<html>")
		},
		"/sniffed": func(c *gin.Context) { _, _ = c.Writer.WriteString("<html>sniffed</html>") },
	}
	return corpusHandlers{http.MethodGet: get, http.MethodHead: {
		"/json":     get["/json"],
		"/file":     get["/file"],
		"/string":   get["/string"],
		"/nothing":  get["/nothing"],
		"/reader":   get["/reader"],
		"/sniffed":  get["/sniffed"],
		"/fromfs":   get["/fromfs"],
		"/data":     get["/data"],
		"/redirect": func(c *gin.Context) { c.Redirect(http.StatusFound, "/json") },
	}, http.MethodOptions: {
		"/json": func(c *gin.Context) { c.Header("Allow", "GET, HEAD, OPTIONS"); c.Status(http.StatusNoContent) },
	}}
}
