package hello

import (
	"container/list"
	"crypto/rand"
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

const (
	// visitorCookie names the cookie that tells visitors apart.
	visitorCookie = "hello_visitor"
	// maxVisitors bounds the memory that clients without cookies can take.
	maxVisitors = 10_000
)

// store counts visits. It lives as long as some configuration uses it, so
// that a reload does not forget the visitors.
type store struct {
	limit int

	mu       sync.Mutex
	visitors map[string]*list.Element // of *visitor
	recent   *list.List               // the latest visitor first
	total    int64
}

type visitor struct {
	id     string
	visits int64
}

func openStore() (*store, error) {
	stats.opened.Add(1)
	return newStore(maxVisitors), nil
}

func newStore(limit int) *store {
	return &store{limit: limit, visitors: make(map[string]*list.Element), recent: list.New()}
}

// Close implements io.Closer. There is nothing to close but the books.
func (s *store) Close() error {
	stats.closed.Add(1)
	return nil
}

// visit counts a visit of the visitor with the given id, and returns the id,
// the visits of this visitor and those of all. An id that the store does not
// know is replaced by a new one, so that nobody can choose their id, or
// somebody else's.
func (s *store) visit(id string) (_ string, visits, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.visitors[id]
	if known {
		s.recent.MoveToFront(e)
	} else {
		e = s.recent.PushFront(&visitor{id: rand.Text()})
		s.visitors[e.Value.(*visitor).id] = e
		if s.recent.Len() > s.limit {
			oldest := s.recent.Remove(s.recent.Back()).(*visitor)
			delete(s.visitors, oldest.id)
		}
	}
	v := e.Value.(*visitor)
	v.visits++
	s.total++
	return v.id, v.visits, s.total
}

func (s *server) counter(c *gin.Context) {
	sent, _ := c.Cookie(visitorCookie)
	id, visits, total := s.visits.visit(sent)
	if id != sent {
		path := ginbridge.Prefix(c)
		if path == "" {
			path = "/"
		}
		http.SetCookie(c.Writer, &http.Cookie{
			Name:     visitorCookie,
			Value:    id,
			Path:     path,
			HttpOnly: true,
			Secure:   ginbridge.Scheme(c) == "https",
			SameSite: http.SameSiteLaxMode,
		})
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, gin.H{"visits": visits, "total": total})
}
