package hello

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// The answer to an upload is kept in memory, which bounds it.
const (
	maxFiles = 1000
	maxName  = 255
)

var errTooManyFiles = errors.New("too many files")

// file is what /upload answers for each file.
type file struct {
	Field  string `json:"field"`
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// upload reads files of any size without keeping them, in memory or on disk.
func (s *server) upload(c *gin.Context) {
	if limit := s.cfg.Limits.MaxUpload; limit > 0 {
		if c.Request.ContentLength > limit { // spares the client the effort
			uploadFailed(c, &http.MaxBytesError{Limit: limit})
			return
		}
		c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, limit)
	}
	parts, err := c.Request.MultipartReader()
	if err != nil {
		uploadFailed(c, err)
		return
	}
	files := []file{}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			uploadFailed(c, err)
			return
		}
		if part.FileName() == "" {
			continue // a field that is no file; NextPart skips its value
		}
		if len(files) == maxFiles {
			uploadFailed(c, errTooManyFiles)
			return
		}
		f, err := digest(part)
		if err != nil {
			uploadFailed(c, err)
			return
		}
		files = append(files, f)
	}
	c.JSON(http.StatusOK, gin.H{"files": files})
}

func digest(part *multipart.Part) (file, error) {
	hash := sha256.New()
	n, err := io.Copy(hash, part)
	return file{
		Field:  clip(part.FormName()),
		Name:   clip(part.FileName()),
		Size:   n,
		SHA256: hex.EncodeToString(hash.Sum(nil)),
	}, err
}

// clip shortens a name that only a joker would send.
func clip(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), maxName)], "")
}

func uploadFailed(c *gin.Context, err error) {
	status := bodyErrorStatus(err)
	switch {
	case errors.Is(err, errTooManyFiles):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, http.ErrNotMultipart):
		status = http.StatusUnsupportedMediaType
	}
	c.AbortWithStatusJSON(status, gin.H{"error": err.Error()})
}
