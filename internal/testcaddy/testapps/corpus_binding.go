package testapps

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/gin-gonic/gin"
	"github.com/gin-gonic/gin/binding"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// corpusBinding has the ways to bind a request; each answers with what was
// bound, or with the error.
func corpusBinding() corpusHandlers {
	should := func(bind func(*gin.Context, any) error) gin.HandlerFunc {
		return func(c *gin.Context) {
			var thing corpusThing
			if err := bind(c, &thing); err != nil {
				c.JSON(http.StatusUnprocessableEntity, gin.H{"error": err.Error()})
				return
			}
			c.JSON(http.StatusOK, thing)
		}
	}
	must := func(bind func(*gin.Context, any) error) gin.HandlerFunc {
		return func(c *gin.Context) {
			var thing corpusThing
			if err := bind(c, &thing); err != nil {
				_, _ = c.Writer.WriteString(err.Error()) // Gin has set the status
				return
			}
			c.JSON(http.StatusOK, thing)
		}
	}
	twice := func(c *gin.Context, v any) error {
		return errors.Join(c.ShouldBindBodyWith(v, binding.JSON), c.ShouldBindBodyWithJSON(v))
	}
	text := func(c *gin.Context) {
		var s string
		err := c.ShouldBindPlain(&s)
		c.String(http.StatusOK, "%q %v", s, err)
	}
	protobuf := func(c *gin.Context) {
		var s wrapperspb.StringValue
		err := c.ShouldBindWith(&s, binding.ProtoBuf)
		c.String(http.StatusOK, "%q %v", s.GetValue(), err != nil) // protobuf varies the text from binary to binary
	}
	return corpusHandlers{
		http.MethodGet: {
			"/bind/query":            should((*gin.Context).ShouldBindQuery),
			"/bind/header":           should((*gin.Context).ShouldBindHeader),
			"/bind/uri/:name/:age":   should((*gin.Context).ShouldBindUri),
			"/bind/auto":             should((*gin.Context).ShouldBind),
			"/must/query":            must((*gin.Context).BindQuery),
			"/must/header":           must((*gin.Context).BindHeader),
			"/must/uri/:name/:age":   must((*gin.Context).BindUri),
			"/must/uri-only/:name/a": must((*gin.Context).BindUri),
		},
		http.MethodPost: {
			"/bind/json":     should((*gin.Context).ShouldBindJSON),
			"/bind/xml":      should((*gin.Context).ShouldBindXML),
			"/bind/yaml":     should((*gin.Context).ShouldBindYAML),
			"/bind/toml":     should((*gin.Context).ShouldBindTOML),
			"/bind/auto":     should((*gin.Context).ShouldBind),
			"/bind/twice":    should(twice),
			"/bind/plain":    text,
			"/bind/protobuf": protobuf,
			"/must/auto":     must((*gin.Context).Bind),
			"/must/json":     must((*gin.Context).BindJSON),
		},
	}
}

// corpusUploads reads bodies and forms.
func corpusUploads(corpus Corpus) corpusHandlers {
	return corpusHandlers{http.MethodPost: {
		"/form": func(c *gin.Context) {
			c.JSON(http.StatusOK, gin.H{
				"one": c.PostForm("one"), "default": c.DefaultPostForm("none", "default"),
				"many": c.PostFormArray("many"), "map": c.PostFormMap("map"), "query": c.Query("one"),
			})
		},
		"/raw": func(c *gin.Context) {
			data, err := c.GetRawData()
			c.String(http.StatusOK, "%d %x %v %v", len(data), sha256.Sum256(data), err, c.Request.Trailer)
		},
		"/limited": func(c *gin.Context) {
			c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 10)
			data, err := c.GetRawData()
			c.String(http.StatusRequestEntityTooLarge, "%d %v", len(data), err)
		},
		"/unread": func(c *gin.Context) { c.String(http.StatusOK, "not read") },
		"/echo": func(c *gin.Context) {
			c.DataFromReader(http.StatusOK, c.Request.ContentLength, c.ContentType(), c.Request.Body, nil)
		},
		"/upload": func(c *gin.Context) {
			form, err := c.MultipartForm()
			if err != nil {
				_ = c.AbortWithError(http.StatusBadRequest, err)
				_, _ = c.Writer.WriteString(err.Error())
				return
			}
			for _, file := range form.File["file"] {
				saved, err := corpusSave(c, corpus, file.Filename)
				_, _ = fmt.Fprintf(c.Writer, "%s %d %v %s %v\n", file.Filename, file.Size, file.Header, saved, err)
			}
			_, _ = fmt.Fprintf(c.Writer, "%v %q\n", form.Value, c.PostForm("text"))
		},
		"/upload/stream": func(c *gin.Context) {
			parts, err := c.Request.MultipartReader()
			for err == nil {
				part, partErr := parts.NextPart()
				if partErr != nil {
					err = partErr
					break
				}
				n, copyErr := io.Copy(io.Discard, part)
				_, _ = fmt.Fprintf(c.Writer, "%s %d %v\n", part.FormName(), n, copyErr)
			}
			_, _ = fmt.Fprintln(c.Writer, err)
		},
	}}
}

// corpusSave saves the first file of the form and reads it again.
func corpusSave(c *gin.Context, corpus Corpus, name string) (string, error) {
	file, err := c.FormFile("file")
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(corpus.Files, "upload")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, filepath.Base(name))
	if err := c.SaveUploadedFile(file, path); err != nil {
		return "", err
	}
	data, err := os.ReadFile(path)
	return string(data), err
}
