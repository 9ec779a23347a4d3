package storm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// interval is the time between two events.
const interval = 20 * time.Millisecond

// watch reads a stream of events until the load ends or the app says goodbye.
func (c *client) watch(ctx context.Context, p *pooled) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	impatience := time.AfterFunc(patience, func() { cancel(errPatience) })
	defer impatience.Stop()

	req, err := c.load.newRequest(ctx, http.MethodGet, "/events?n=0&interval="+interval.String(), nil)
	if err != nil {
		return err
	}
	before := time.Now()
	resp, err := p.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := checkStatus(resp); err != nil {
		return err
	}
	events := bufio.NewReader(resp.Body)
	for want := int64(1); ; want++ {
		last := c.run.ending()
		name, data, err := readEvent(events)
		switch {
		case errors.Is(err, io.EOF):
			return wrongBody("the stream ended before event %d", want)
		case err != nil:
			return truncated(err)
		case name == "draining":
			c.pool.result.count(&c.pool.result.Goodbyes)
			_, err := io.Copy(io.Discard, events)
			return truncated(err)
		}
		var tick struct {
			N int64 `json:"n"`
		}
		if err := json.Unmarshal([]byte(data), &tick); err != nil || tick.N != want {
			return wrongBody("got event %q with %.40q, want number %d", name, data, want)
		}
		now := time.Now()
		c.answered(now.Sub(before))
		c.run.ready(c)
		before = now
		impatience.Reset(patience)
		if last {
			return nil // and the stream is reset, or its connection closed
		}
	}
}

// readEvent reads the next event.
func readEvent(r *bufio.Reader) (name, data string, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		field, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch value = strings.TrimPrefix(value, " "); field {
		case "event":
			name = value
		case "data":
			data += value
		case "":
			if name != "" || data != "" {
				return name, data, nil
			}
		}
	}
}
