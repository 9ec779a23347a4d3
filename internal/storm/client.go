package storm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// patience is how long a request may take.
const patience = 10 * time.Second

// errPatience is why a request that takes longer ends.
var errPatience = errors.New("no answer for " + patience.String())

// What a slow request consists of: so many pieces, one each pause.
const (
	pieces   = 16
	pause    = 20 * time.Millisecond
	upload   = 64 << 10 // bytes
	download = 1 << 20  // bytes
)

// client makes requests one after the other.
type client struct {
	load  Load
	run   *run
	pool  *pool
	rand  *rand.Rand
	ready bool // run knows that the client is at work
	posts int
}

// step does whatever the client does over and over.
func (c *client) step(ctx context.Context) {
	c.pool.wait(ctx, c.think())
	before := time.Now()
	p, err := c.pool.get(ctx)
	if err != nil {
		c.fail(ctx, err)
		return
	}
	if c.load.Behaviour == Events {
		err = c.watch(ctx, p)
	} else {
		if err = c.request(ctx, p); err == nil {
			c.answered(time.Since(before))
		}
	}
	if c.load.Behaviour == Connect {
		c.pool.end(p)
	} else {
		c.pool.put(p, err)
	}
	switch {
	case err == nil, errors.Is(err, errNotSent), c.repeats(p, err):
	default:
		c.fail(ctx, err)
	}
}

// think returns how long the client does nothing before its next request.
func (c *client) think() time.Duration {
	switch c.load.Behaviour {
	case Think:
		return time.Duration(c.rand.Int64N(int64(5 * time.Millisecond)))
	case Idle:
		if c.ready {
			return time.Second
		}
	}
	return 0
}

func (c *client) answered(latency time.Duration) {
	c.pool.result.answered(latency, c.run.calm.Load(), c.run.storming())
}

// fail notes a failure, and waits a little, so that a server that is not there
// costs no more than one that is.
func (c *client) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // our own doing
	}
	if !c.run.storming() {
		err = fmt.Errorf("before the storm: %w", err)
	}
	c.pool.result.failed(kindOf(err), err)
	sleep(ctx, 10*time.Millisecond)
}

// request makes a request and checks the answer.
func (c *client) request(ctx context.Context, p *pooled) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	switch c.load.Behaviour {
	case Post:
		c.posts++
		text := fmt.Sprintf("order %d", c.rand.Uint64())
		return c.exchange(ctx, p, http.MethodPost, "/echo", strings.NewReader(text), int64(len(text)), wants(text))
	case Upload:
		body := pattern(upload)
		return c.exchange(ctx, p, http.MethodPost, "/echo", &slowReader{ctx: ctx, r: bytes.NewReader(body), piece: upload / pieces}, upload, wants(string(body)))
	case Download:
		return c.exchange(ctx, p, http.MethodGet, fmt.Sprint("/bytes?n=", download), nil, 0, func(body io.Reader) error {
			return isPattern(&slowReader{ctx: ctx, r: body, piece: download / pieces}, download)
		})
	default:
		begun := time.Now()
		return c.exchange(ctx, p, http.MethodGet, "/greeting", nil, 0, func(body io.Reader) error {
			text, err := readGreeting(body)
			if err == nil {
				c.pool.result.greeted(text, begun, p.begun)
			}
			return err
		})
	}
}

// exchange makes a request and has the body of the answer read by check.
func (c *client) exchange(ctx context.Context, p *pooled, method, path string, body io.Reader, length int64, check func(io.Reader) error) error {
	req, err := c.load.newRequest(ctx, method, path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.ContentLength = length
		req.GetBody = nil
	}
	resp, err := p.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := checkStatus(resp); err != nil {
		return err
	}
	return check(resp.Body)
}

func (l Load) newRequest(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	scheme := "https://"
	if l.Protocol == HTTP1 || l.Protocol == Unix {
		scheme = "http://"
	}
	if l.Path != "" {
		path = l.Path
	}
	return http.NewRequestWithContext(ctx, method, scheme+host+path, body)
}
