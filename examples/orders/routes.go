package orders

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// server is the app in one configuration; its methods are the handlers.
type server struct {
	store *store
	cache *cache
}

// routes adds the app to an engine. It needs no Caddy.
func (s *server) routes(r *gin.Engine) {
	g := r.Group("/orders", s.prepare)
	g.POST("", s.create)
	g.GET("", s.list)
	g.GET("/:id", s.get)
	g.PATCH("/:id", s.change)
}

// prepare opens the database for the first request.
func (s *server) prepare(c *gin.Context) {
	if err := s.store.prepare(c.Request.Context()); err != nil {
		fail(c, fmt.Errorf("opening the database: %w", err))
	}
}

// create answers 201 to a new order, and 200 to one that is there already.
func (s *server) create(c *gin.Context) {
	key := c.GetHeader("Idempotency-Key")
	if key == "" || len(key) > 200 {
		fail(c, badRequest{errors.New("the header Idempotency-Key must have 1 to 200 bytes")})
		return
	}
	var want request
	if err := c.ShouldBindJSON(&want); err != nil {
		fail(c, badRequest{err})
		return
	}
	o, created, err := s.store.create(c.Request.Context(), key, want)
	if err != nil {
		fail(c, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	c.Header("Location", fmt.Sprintf("%s/orders/%d", ginbridge.Prefix(c), o.ID))
	c.JSON(status, o)
}

// get answers with an order; the header Cache-Status says where it is from.
func (s *server) get(c *gin.Context) {
	id, err := pathID(c)
	if err != nil {
		fail(c, err)
		return
	}
	o, hit, err := s.cache.get(c.Request.Context(), id, s.store.order)
	if err != nil {
		fail(c, err)
		return
	}
	if hit {
		c.Header("Cache-Status", "orders; hit")
	} else {
		c.Header("Cache-Status", "orders; fwd=miss")
	}
	c.JSON(http.StatusOK, o)
}

// change sets the quantity.
func (s *server) change(c *gin.Context) {
	id, err := pathID(c)
	if err != nil {
		fail(c, err)
		return
	}
	var want struct {
		Quantity int `json:"quantity" binding:"required,min=1,max=1000000"`
	}
	if err := c.ShouldBindJSON(&want); err != nil {
		fail(c, badRequest{err})
		return
	}
	end := s.cache.withhold(id)
	o, err := s.store.change(c.Request.Context(), id, want.Quantity)
	end()
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, o)
}

// list answers with the number of orders and the latest ones.
func (s *server) list(c *gin.Context) {
	limit, err := strconv.Atoi(c.DefaultQuery("limit", "20"))
	if err != nil || limit < 0 || limit > 1000 {
		fail(c, badRequest{fmt.Errorf("limit is %q, must be a number from 0 to 1000", c.Query("limit"))})
		return
	}
	sum, err := s.store.list(c.Request.Context(), limit)
	if err != nil {
		fail(c, err)
		return
	}
	c.JSON(http.StatusOK, sum)
}

func pathID(c *gin.Context) (int64, error) {
	id, err := strconv.ParseInt(c.Param("id"), 10, 64)
	if err != nil {
		return 0, errNotFound
	}
	return id, nil
}

// badRequest is an error that the client made.
type badRequest struct{ error }

func (e badRequest) Unwrap() error { return e.error }

// fail has Caddy answer with the status that fits an error.
func fail(c *gin.Context, err error) {
	status := http.StatusInternalServerError
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	_, bad := errors.AsType[badRequest](err)
	switch {
	case tooLarge:
		status = http.StatusRequestEntityTooLarge
	case bad:
		status = http.StatusBadRequest
	case errors.Is(err, errNotFound):
		status = http.StatusNotFound
	case errors.Is(err, errShipped):
		status = http.StatusConflict
	case errors.Is(err, errKeyTaken):
		status = http.StatusUnprocessableEntity
	}
	ginbridge.Fail(c, status, err)
}
