package storm

import (
	"context"
	"errors"
	"io"
)

// wants returns a function that checks that a body says just this.
func wants(text string) func(io.Reader) error {
	return func(r io.Reader) error {
		body, err := readAll(r, len(text)+1)
		if err != nil {
			return err
		}
		if string(body) != text {
			return wrongBody("got %d bytes, %.40q, want %d, %.40q", len(body), body, len(text), text)
		}
		return nil
	}
}

// readGreeting reads a body that is to be a greeting.
func readGreeting(r io.Reader) (string, error) {
	body, err := readAll(r, 1000)
	if err != nil {
		return "", err
	}
	if !isGreeting(string(body)) {
		return "", wrongBody("got %.40q, want a greeting", body)
	}
	return string(body), nil
}

// readAll reads up to limit bytes to the end.
func readAll(r io.Reader, limit int) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, int64(limit)))
	if err == nil && len(body) == limit {
		return body, wrongBody("got %d bytes or more, %.40q, which are too many", limit, body)
	}
	return body, truncated(err)
}

// truncated marks the error of a body that ended before its time.
func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return &bodyError{err}
	}
	return err
}

// pattern returns n bytes of which the one at offset i is i modulo 251: a piece
// that is lost or there twice shows.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

// isPattern checks that r has the bytes of pattern(n).
func isPattern(r io.Reader, n int) error {
	buf := make([]byte, 16<<10)
	for at := 0; ; {
		k, err := r.Read(buf)
		for _, b := range buf[:k] {
			if b != byte(at%251) {
				return wrongBody("wrong byte at offset %d", at)
			}
			at++
		}
		switch {
		case errors.Is(err, io.EOF) && at == n:
			return nil
		case errors.Is(err, io.EOF), err == nil && at > n:
			return wrongBody("got %d bytes, want %d", at, n)
		case err != nil:
			return truncated(err)
		}
	}
}

// slowReader reads a piece, pauses, and so on.
type slowReader struct {
	ctx   context.Context
	r     io.Reader
	piece int // bytes
	left  int // of the current piece
}

// Read implements [io.Reader].
func (s *slowReader) Read(p []byte) (int, error) {
	if s.left <= 0 {
		s.left = s.piece
		sleep(s.ctx, pause)
		if err := context.Cause(s.ctx); err != nil {
			return 0, err
		}
	}
	n, err := s.r.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}
