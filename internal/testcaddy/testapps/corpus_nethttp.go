package testapps

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// corpusWriter has handlers that do more with their writer than render.
func corpusWriter() corpusHandlers {
	stream := func(c *gin.Context) {
		n := 0
		gone := c.Stream(func(w io.Writer) bool {
			n++
			_, _ = fmt.Fprintf(w, "step %d\n", n)
			return n < 3
		})
		_, _ = fmt.Fprint(c.Writer, gone)
	}
	return corpusHandlers{http.MethodGet: {
		"/stream": stream,
		"/events": func(c *gin.Context) {
			n := 0
			c.Stream(func(io.Writer) bool {
				n++
				c.SSEvent("tick", gin.H{"n": n})
				return n < 3
			})
		},
		"/event": func(c *gin.Context) { c.SSEvent("once", "line 1\nline 2") },
		"/flush": func(c *gin.Context) {
			for i := range 3 {
				_, _ = fmt.Fprintf(c.Writer, "part %d ", i)
				c.Writer.Flush()
			}
		},
		"/flush/first": func(c *gin.Context) {
			c.Status(http.StatusAccepted)
			c.Writer.Flush()
			_, _ = c.Writer.WriteString("after")
		},
		"/trailers": func(c *gin.Context) {
			c.Header("Trailer", "X-Sum")
			_, _ = c.Writer.WriteString("body")
			c.Writer.Flush()
			c.Header("X-Sum", "4")
			c.Header(http.TrailerPrefix+"X-Late", "undeclared")
		},
		"/large": func(c *gin.Context) { c.String(http.StatusOK, strings.Repeat("0123456789abcdef", 1<<16)) },
		"/large/pieces": func(c *gin.Context) {
			for range 300 {
				_, _ = c.Writer.WriteString(strings.Repeat("p", 1000))
			}
		},
		"/length": func(c *gin.Context) {
			c.Header("Content-Length", "4")
			_, err := c.Writer.WriteString("more than four")
			_, _ = fmt.Fprint(c.Writer, errors.Is(err, http.ErrContentLength))
		},
		"/twice": func(c *gin.Context) {
			c.String(http.StatusOK, "first ")
			c.String(http.StatusTeapot, "second")
			c.Writer.WriteHeader(http.StatusGone)
		},
		"/close": func(c *gin.Context) { c.Header("Connection", "close"); c.String(http.StatusOK, "bye") },
		"/date":  func(c *gin.Context) { c.Writer.Header()["Date"] = nil; c.String(http.StatusOK, "no date") },
		"/controller": func(c *gin.Context) {
			rc := http.NewResponseController(c.Writer)
			_, push := c.Writer.(interface{ Pusher() http.Pusher })
			answers := []any{rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Now().Add(time.Hour)),
				rc.EnableFullDuplex(), rc.Flush(), push, c.Writer.Pusher() == nil, c.Writer.CloseNotify() != nil}
			_, _ = fmt.Fprint(c.Writer, answers...)
		},
		"/hijack": func(c *gin.Context) {
			conn, rw, err := c.Writer.Hijack()
			if err != nil {
				panic(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = rw.WriteString("HTTP/1.1 200 By Hand\r\nContent-Length: 4\r\n\r\nhand")
			_ = rw.Flush()
		},
		"/hijack/late": func(c *gin.Context) {
			_, _ = c.Writer.WriteString("body ")
			_, _, err := c.Writer.Hijack()
			_, _ = fmt.Fprint(c.Writer, err)
		},
		"/break": func(c *gin.Context) {
			_, _ = c.Writer.WriteString("half")
			c.Writer.Flush()
			panic(http.ErrAbortHandler)
		},
		"/break/first": func(*gin.Context) { panic(http.ErrAbortHandler) },
	}, http.MethodHead: {"/stream": stream}, http.MethodPost: {
		"/duplex": func(c *gin.Context) {
			if err := http.NewResponseController(c.Writer).EnableFullDuplex(); err != nil {
				c.String(http.StatusInternalServerError, err.Error())
				return
			}
			c.Writer.Flush()
			_, err := io.Copy(c.Writer, c.Request.Body)
			_, _ = fmt.Fprint(c.Writer, err)
		},
	}}
}

// corpusNetHTTP adds handlers of net/http's.
func corpusNetHTTP(r *gin.Engine, corpus Corpus) {
	r.Static("/static", corpus.Files)
	r.StaticFS("/listed", gin.Dir(corpus.Files+"/sub", true))
	r.StaticFile("/static-file", corpus.file("page.html"))
	r.StaticFileFS("/static-file-fs", "page.html", http.Dir(corpus.Files))

	r.GET("/files/*path", gin.WrapH(http.StripPrefix("/files", http.FileServer(http.Dir(corpus.Files)))))
	r.GET("/wrap/error", gin.WrapF(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "an error", http.StatusPaymentRequired)
	}))
	r.GET("/wrap/redirect", gin.WrapF(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, "../up", http.StatusSeeOther)
	}))
	r.GET("/wrap/notfound", gin.WrapF(http.NotFound))
	r.GET("/wrap/content", gin.WrapF(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, req, "c.txt", time.Unix(1e9, 0), strings.NewReader("0123456789"))
	}))
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "in time") })
	r.GET("/wrap/timeout", gin.WrapH(http.TimeoutHandler(slow, time.Minute, "too late")))
	r.GET("/wrap/flusher", gin.WrapF(func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		_, readerFrom := w.(io.ReaderFrom)
		_, _ = fmt.Fprint(w, readerFrom)
	}))
	r.POST("/wrap/max", gin.WrapH(http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		n, err := io.Copy(io.Discard, req.Body)
		_, _ = fmt.Fprint(w, n, err)
	}), 5)))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /mux/{id}", func(w http.ResponseWriter, req *http.Request) {
		_, _ = fmt.Fprintf(w, "%s %s", req.PathValue("id"), req.Pattern)
	})
	r.Any("/mux/*any", gin.WrapH(mux))

	upstream, err := url.Parse(corpus.Upstream)
	if err != nil {
		panic(err)
	}
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(pr *httputil.ProxyRequest) {
		pr.SetURL(upstream)
		pr.Out.Header.Del("Caddy-Gin-Client-Ip") // the one thing that the bridge adds
	}}
	r.Any("/proxy/*path", gin.WrapH(http.StripPrefix("/proxy", proxy)))
}
