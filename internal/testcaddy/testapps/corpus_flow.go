package testapps

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// corpusRequest has what a handler may ask about its request.
func corpusRequest() corpusHandlers {
	about := func(c *gin.Context) {
		r := c.Request
		var header []string
		for name, values := range r.Header {
			if name != "Caddy-Gin-Client-Ip" { // the one thing that the bridge adds
				header = append(header, fmt.Sprintf("%s: %q", name, values))
			}
		}
		slices.Sort(header)
		remote, _, _ := strings.Cut(r.RemoteAddr, ":")
		_, server := r.Context().Value(http.ServerContextKey).(*http.Server)
		c.JSON(http.StatusOK, gin.H{
			"method": r.Method, "uri": r.RequestURI, "url": r.URL.String(), "path": r.URL.Path, "raw": r.URL.RawPath,
			"proto": r.Proto, "host": r.Host, "length": r.ContentLength, "encoding": r.TransferEncoding,
			"close": r.Close, "tls": r.TLS != nil, "remote": remote, "header": header,
			"ip": c.ClientIP(), "remote_ip": c.RemoteIP(), "type": c.ContentType(), "websocket": c.IsWebsocket(),
			"full": c.FullPath(), "handler": c.HandlerName(), "params": append(gin.Params{}, c.Params...), "server": server,
			"local": fmt.Sprintf("%T", r.Context().Value(http.LocalAddrContextKey)), "done": c.Done() == nil,
			"pattern": r.Pattern,
		})
	}
	return corpusHandlers{http.MethodGet: {
		"/about":             about,
		"/about/:one/two/*x": about,
		"/nobody":            func(c *gin.Context) { c.String(http.StatusOK, "%t", c.Request.Body == http.NoBody) },
		"/users/:id":         func(c *gin.Context) { c.String(http.StatusOK, "user %s", c.Param("id")) },
		"/users/me":          func(c *gin.Context) { c.String(http.StatusOK, "me %q", c.Param("id")) },
		"/query": func(c *gin.Context) {
			one, found := c.GetQuery("one")
			c.JSON(http.StatusOK, gin.H{"one": one, "found": found, "many": c.QueryArray("many"),
				"map": c.QueryMap("map"), "default": c.DefaultQuery("none", "default")})
		},
	}, http.MethodPost: {"/about": about}, http.MethodDelete: {"/about": about}}
}

// corpusFlow adds groups and middleware.
func corpusFlow(r *gin.Engine) {
	mark := func(name string) gin.HandlerFunc {
		return func(c *gin.Context) {
			c.Writer.Header().Add("X-Order", name)
			_, _ = fmt.Fprintf(c.Writer, "<%s>", name)
			c.Next()
			_, _ = fmt.Fprintf(c.Writer, "</%s>", name)
		}
	}
	hello := func(c *gin.Context) { _, _ = c.Writer.WriteString("hello") }

	outer := r.Group("/group", mark("outer"))
	outer.GET("/before", hello)
	outer.Use(mark("late"))
	outer.GET("/after", hello)
	outer.Group("/inner", mark("inner")).GET("/x", mark("own"), hello)
	outer.GET("/abort", func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) }, hello)

	r.GET("/abort/json", func(c *gin.Context) { c.AbortWithStatusJSON(http.StatusConflict, gin.H{"a": "<b>"}) }, hello)
	r.GET("/abort/pure", func(c *gin.Context) { c.AbortWithStatusPureJSON(http.StatusConflict, gin.H{"a": "<b>"}) }, hello)
	r.GET("/abort/status", func(c *gin.Context) { c.AbortWithStatus(http.StatusUnauthorized) }, hello)
	r.GET("/abort/error", func(c *gin.Context) { _ = c.AbortWithError(http.StatusBadGateway, errors.New("upstream")) }, hello)

	r.Group("/auth", gin.BasicAuth(gin.Accounts{"user": "secret"})).GET("/x", func(c *gin.Context) {
		c.String(http.StatusOK, c.MustGet(gin.AuthUserKey).(string))
	})

	failed := r.Group("/errors", gin.ErrorLogger())
	failed.GET("/one", func(c *gin.Context) { _ = c.Error(errors.New("one")).SetMeta(gin.H{"hint": "try again"}) })
	failed.GET("/two", func(c *gin.Context) {
		_ = c.Error(errors.New("one")).SetType(gin.ErrorTypePublic)
		_ = c.Error(errors.New("two"))
		c.Status(http.StatusTeapot)
	})
	failed.GET("/abort", func(c *gin.Context) { _ = c.AbortWithError(http.StatusBadRequest, errors.New("bad")) })

	recovered := r.Group("/recovery", gin.CustomRecoveryWithWriter(io.Discard, func(c *gin.Context, err any) {
		c.JSON(http.StatusInternalServerError, gin.H{"recovered": fmt.Sprint(err)})
	}))
	recovered.GET("/panic", func(*gin.Context) { panic("custom") })
	recovered.GET("/redirect", func(c *gin.Context) { c.Redirect(http.StatusOK, "/") }) // Gin panics
	recovered.GET("/late", func(c *gin.Context) {
		c.String(http.StatusOK, "half an answer, ")
		panic("late")
	})
	r.GET("/recovery/default", gin.RecoveryWithWriter(io.Discard), func(*gin.Context) { panic("default") })

	seen := func(c *gin.Context) {
		w := c.Writer
		before := fmt.Sprint(w.Written(), w.Size(), w.Status())
		c.Next()
		after := fmt.Sprint(w.Written(), w.Size(), w.Status(), c.IsAborted(), len(c.Errors))
		_, _ = fmt.Fprintf(w, "[%s] [%s]", before, after)
	}
	r.GET("/seen/json", seen, func(c *gin.Context) { c.JSON(http.StatusAccepted, gin.H{"a": 1}) })
	r.GET("/seen/status", seen, func(c *gin.Context) { c.Status(http.StatusAccepted) })
	r.GET("/seen/nothing", seen, func(*gin.Context) {})
	r.GET("/seen/error", seen, func(c *gin.Context) { _ = c.AbortWithError(http.StatusGone, errors.New("gone")) })
	r.GET("/seen/written", seen, func(c *gin.Context) { c.Status(http.StatusGone); c.Writer.WriteHeaderNow() })

	r.GET("/again", func(c *gin.Context) {
		c.Request.URL.Path = "/users/again"
		r.HandleContext(c)
	})
	r.GET("/again/written", func(c *gin.Context) {
		_, _ = c.Writer.WriteString("first ")
		c.Request.URL.Path = "/users/again"
		r.HandleContext(c)
		_, _ = c.Writer.WriteString(" last")
	})
	r.GET("/again/nowhere", func(c *gin.Context) {
		c.Request.URL.Path = "/nowhere"
		r.HandleContext(c)
	})
	r.GET("/copy/:id", func(c *gin.Context) {
		c.Set("key", "value")
		own, done := c.Copy(), make(chan string)
		go func() {
			done <- fmt.Sprint(own.Param("id"), own.MustGet("key"), own.Request.URL.Path, own.FullPath(), own.IsAborted())
		}()
		c.String(http.StatusOK, <-done)
	})
	r.GET("/wrapped", func(c *gin.Context) {
		c.Writer = &corpusUpper{c.Writer}
		c.Next()
	}, func(c *gin.Context) { c.String(http.StatusOK, "upper case") })
	r.GET("/context", func(c *gin.Context) {
		c.Set("at", time.Unix(0, 0).UTC())
		_, deadline := c.Deadline()
		c.String(http.StatusOK, "%v %v %v %v", c.GetTime("at"), c.Value("at"), deadline, c.Err())
	})
}

// corpusUpper is a writer as middleware puts around Gin's.
type corpusUpper struct{ gin.ResponseWriter }

func (w *corpusUpper) Write(b []byte) (int, error) {
	return w.WriteString(strings.ToUpper(string(b)))
}
