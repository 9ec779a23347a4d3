package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// ordersOrder is an order as the app answers with it.
type ordersOrder struct {
	ID       int64  `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
	Shipped  string `json:"shipped"`
}

// ordersRecord is what a client knows of an order of its own, which nobody
// else changes.
type ordersRecord struct {
	key     string // also the item
	id      int64  // 0 if the order was not acknowledged
	acked   int    // the quantity that was acknowledged last
	tried   int    // one that may hold, as there was no answer; 0 if there is none
	shipped bool   // the client was told so
}

// fits returns what is wrong with an order that was read, or "".
func (r *ordersRecord) fits(o ordersOrder) string {
	switch {
	case o.ID != r.id || o.Item != r.key:
		return "another order"
	case o.Quantity != r.acked && (r.tried == 0 || o.Quantity != r.tried):
		return "another quantity"
	case r.shipped && o.Shipped == "":
		return "not shipped any more"
	}
	if o.Quantity == r.tried { // from now on, it must stay so
		r.acked, r.tried = r.tried, 0
	}
	r.shipped = o.Shipped != ""
	return ""
}

// ordersLoad are clients that make, change and read orders without a pause.
type ordersLoad struct {
	t       *testing.T
	s       *testcaddy.Server
	stop    chan struct{}
	ending  atomic.Bool // failed requests are to be expected
	running sync.WaitGroup
	clients []*ordersClient

	answers, watched, orders, dials, hits, conflicts atomic.Int64

	mu     sync.Mutex
	failed []string // requests without the answer they should have, and connections that were closed
	wrong  []string // data that are not as they should be
}

// ordersClient is a client with a connection of its own.
type ordersClient struct {
	*ordersLoad
	name    string
	http    *http.Client
	turn    int           // of the mounts
	count   *atomic.Int64 // of answers
	records []*ordersRecord
	watched atomic.Pointer[ordersWatched]
}

// ordersLoads tells the orders of one load from those of another.
var ordersLoads atomic.Int64

func ordersStartLoad(t *testing.T, s *testcaddy.Server) *ordersLoad {
	t.Helper()
	l := &ordersLoad{t: t, s: s, stop: make(chan struct{})}
	number := ordersLoads.Add(1)
	for i := range ordersClients {
		c := l.client(fmt.Sprintf("load-%d-client-%d", number, i))
		l.clients = append(l.clients, c)
		watcher := l.client("watcher")
		watcher.count = &l.watched
		l.running.Go(c.run)
		l.running.Go(func() { watcher.watch(&c.watched) })
	}
	t.Cleanup(func() { // of a test that failed
		close(l.stop)
		l.running.Wait()
	})
	return l
}

func (l *ordersLoad) client(name string) *ordersClient {
	c := &ordersClient{ordersLoad: l, name: name, http: testcaddy.Client(l.t, "http"), count: &l.answers}
	c.http.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		l.dials.Add(1)
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &ordersConn{Conn: conn, load: l}, nil
	}
	return c
}

// ordersConn notices when the server ends a connection. Go would repeat the
// request on another one without a word, even a POST with an idempotency key.
// (Go's client ends one itself now and then, on a busy machine.)
type ordersConn struct {
	net.Conn
	load   *ordersLoad
	closed atomic.Bool // by the client
}

func (c *ordersConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !c.closed.Load() && !c.load.ending.Load() {
		c.load.note(&c.load.failed, "the server closed %v: %v", c.LocalAddr(), err)
	}
	return n, err
}

func (c *ordersConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// await waits for a number of answers to each client that writes, on average.
func (l *ordersLoad) await(n int64) {
	l.t.Helper()
	more := l.answers.Load() + n*ordersClients
	testcaddy.Eventually(l.t, "answers to orders", func() bool { return l.answers.Load() >= more })
}

// wait waits until all clients have noticed that the server is gone.
func (l *ordersLoad) wait() {
	l.t.Helper()
	done := make(chan struct{})
	go func() {
		l.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		l.t.Fatalf("the clients go on after the end of the server:\n%s", l.s.RawLog())
	}
}

func (l *ordersLoad) String() string {
	return fmt.Sprintf("%d answers to clients and %d to watchers, %d orders, %d cache hits, %d conflicts, %d connections",
		l.answers.Load(), l.watched.Load(), l.orders.Load(), l.hits.Load(), l.conflicts.Load(), l.dials.Load())
}

// report fails the test if a client was not content.
func (l *ordersLoad) report(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.Logf("at the end: %s", l)
	for _, what := range l.wrong[:min(len(l.wrong), 10)] {
		t.Error(what)
	}
	if ordersServers == "" {
		t.Logf("%d requests failed or connections were closed without the wrapper", len(l.failed))
	} else if len(l.failed) > 0 {
		t.Errorf("%d requests failed or connections were closed, among them:\n%s", len(l.failed), strings.Join(l.failed[:min(len(l.failed), 10)], "\n"))
	}
	if l.hits.Load() == 0 {
		t.Error("no order was read from the cache, so this test shows little")
	}
}

func (l *ordersLoad) note(list *[]string, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*list = append(*list, fmt.Sprintf(format, args...))
}

// run makes one order after another, until the server goes or the test ends.
func (c *ordersClient) run() {
	defer c.http.CloseIdleConnections()
	for i := 0; ; i++ {
		select {
		case <-c.stop:
			return
		default:
		}
		r := &ordersRecord{key: fmt.Sprintf("%s-%d", c.name, i)}
		c.records = append(c.records, r)
		c.orders.Add(1)
		if !c.order(r, i) {
			return
		}
	}
}

// order is the life of one order. It is false if the server has gone.
func (c *ordersClient) order(r *ordersRecord, i int) bool {
	if alive := c.create(r, http.StatusCreated); !alive || r.id == 0 {
		return alive
	}
	if i%5 == 0 && !c.create(r, http.StatusOK) {
		return false
	}
	for quantity := 2; quantity <= 3; quantity++ {
		if !c.readBoth(r) || !c.change(r, quantity) || !c.readBoth(r) {
			return false
		}
	}
	old := c.records[i/2]
	return old.id == 0 || c.read(old)
}

// create asks for an order until there is an answer, which must have the
// status want.
func (c *ordersClient) create(r *ordersRecord, want int) bool {
	body := fmt.Sprintf(`{"item": %q, "quantity": 1}`, r.key)
	for range 10 {
		status, o, alive := c.do(http.MethodPost, "/orders", r.key, body, http.StatusCreated, http.StatusOK)
		if !alive {
			return false
		}
		if status == 0 {
			want = 0 // unknown: the order may have been made
			continue
		}
		if want != 0 && status != want {
			c.note(&c.wrong, "order %s: got the status %d, want %d", r.key, status, want)
		}
		if r.id == 0 {
			r.id, r.acked = o.ID, 1
			c.watched.Store(&ordersWatched{id: o.ID})
		}
		c.compare(r, o, "an order that was made")
		return true
	}
	return true
}

func (c *ordersClient) read(r *ordersRecord) bool {
	status, o, alive := c.do(http.MethodGet, fmt.Sprintf("/orders/%d", r.id), "", "", http.StatusOK)
	if status != 0 {
		c.compare(r, o, "an order that was read")
	}
	return alive
}

// readBoth reads an order through one mount and then through the other.
func (c *ordersClient) readBoth(r *ordersRecord) bool {
	for range 2 {
		if !c.read(r) {
			return false
		}
	}
	return true
}

func (c *ordersClient) change(r *ordersRecord, quantity int) bool {
	status, o, alive := c.do(http.MethodPatch, fmt.Sprintf("/orders/%d", r.id), "", fmt.Sprintf(`{"quantity": %d}`, quantity),
		http.StatusOK, http.StatusConflict)
	switch status {
	case 0:
		r.tried = quantity
	case http.StatusOK:
		if r.shipped {
			c.note(&c.wrong, "order %s was changed after it was shipped", r.key)
		}
		r.acked, r.tried = quantity, 0
		c.watched.Load().acked.Store(int64(quantity))
		c.compare(r, o, "an order that was changed")
	case http.StatusConflict:
		c.conflicts.Add(1)
		r.shipped = true
	}
	return alive
}

func (c *ordersClient) compare(r *ordersRecord, o ordersOrder, what string) {
	before := *r
	if bad := r.fits(o); bad != "" {
		c.note(&c.wrong, "%s is %s: got %+v, know %+v", what, bad, o, before)
	}
}

// do sends a request. The status is 0 if the answer has none of those wanted;
// alive is false if that may be because the server has gone.
func (c *ordersClient) do(method, path, key, body string, want ...int) (status int, o ordersOrder, alive bool) {
	failed := func(format string, args ...any) (int, ordersOrder, bool) {
		if c.ending.Load() {
			return 0, ordersOrder{}, false
		}
		c.note(&c.failed, "%s %s: %s", method, path, fmt.Sprintf(format, args...))
		return 0, ordersOrder{}, true
	}
	mount := []string{"", "/second"}[c.turn%2]
	c.turn++
	req, err := http.NewRequest(method, c.s.HTTP(mount+path), strings.NewReader(body))
	if err != nil {
		return failed("%v", err)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return failed("%v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.Close && !c.ending.Load() {
		c.note(&c.failed, "%s %s: the server asks to close the connection", method, path)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return failed("reading the answer: %v", err)
	}
	if !slices.Contains(want, resp.StatusCode) {
		return failed("%s %s", resp.Status, text)
	}
	c.count.Add(1)
	if resp.Header.Get("Cache-Status") == "orders; hit" {
		c.hits.Add(1)
	}
	if resp.StatusCode != http.StatusConflict {
		if err := json.Unmarshal(text, &o); err != nil {
			c.note(&c.wrong, "%s %s: %v in %q", method, path, err, text)
		}
	}
	if at := resp.Header.Get("Location"); method == http.MethodPost && at != fmt.Sprintf("%s/orders/%d", mount, o.ID) {
		c.note(&c.wrong, "order %d is at %q", o.ID, at)
	}
	return resp.StatusCode, o, true
}
