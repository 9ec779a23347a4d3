package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// result is what one turn of a system came to.
type result struct {
	perSecond float64
	p50, p99  time.Duration
	errors    int
}

// patience bounds the wait for an answer.
const patience = 10 * time.Second

// load keeps a number of connections busy for a while, each with one request
// at a time.
func load(ctx context.Context, s *system, connections int, d time.Duration) (result, error) {
	clients := make([]*client, connections)
	defer func() {
		for _, c := range clients {
			if c != nil {
				c.conn.Close()
			}
		}
	}()
	for i := range clients {
		c, err := dial(ctx, s)
		if err != nil {
			return result{}, fmt.Errorf("%s: %w", s.name, err)
		}
		clients[i] = c
	}
	var all sync.WaitGroup
	start := time.Now()
	end := start.Add(d)
	for _, c := range clients {
		all.Go(func() { c.keepBusy(ctx, end) })
	}
	all.Wait()
	took := time.Since(start)
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	var r result
	var latencies []time.Duration
	for _, c := range clients {
		latencies = append(latencies, c.latencies...)
		r.errors += c.errors
	}
	if len(latencies) == 0 {
		return r, fmt.Errorf("%s: not one request was answered", s.name)
	}
	slices.Sort(latencies)
	r.perSecond = float64(len(latencies)) / took.Seconds()
	r.p50 = latencies[len(latencies)/2]
	r.p99 = latencies[len(latencies)*99/100]
	return r, nil
}

// probe makes one request.
func probe(ctx context.Context, s *system) error {
	c, err := dial(ctx, s)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	return c.exchange()
}

// client is one connection. It is as simple as can be, since it takes the
// processor from the server that is measured.
type client struct {
	conn      net.Conn
	in        *bufio.Reader
	request   []byte
	latencies []time.Duration
	errors    int
}

func dial(ctx context.Context, s *system) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	return &client{
		conn:    conn,
		in:      bufio.NewReader(conn),
		request: []byte("GET /ping HTTP/1.1\r\nHost: " + s.address + "\r\nUser-Agent: ginbench\r\nAccept: */*\r\n\r\n"),
	}, nil
}

// keepBusy makes requests until the end. A connection that fails stays out
// for the rest of the turn.
func (c *client) keepBusy(ctx context.Context, end time.Time) {
	_ = c.conn.SetDeadline(end.Add(patience))
	defer context.AfterFunc(ctx, func() { c.conn.Close() })()
	for before := time.Now(); before.Before(end); {
		if c.exchange() != nil {
			c.errors++
			return
		}
		now := time.Now()
		c.latencies = append(c.latencies, now.Sub(before))
		before = now
	}
}

var (
	statusOK      = []byte("HTTP/1.1 200 ")
	lengthField   = []byte("content-length:")
	typeField     = []byte("content-type:")
	errUnexpected = errors.New("unexpected answer")
)

// exchange sends a request and checks the answer.
func (c *client) exchange() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, statusOK) {
		return fmt.Errorf("%w: %q", errUnexpected, line)
	}
	length, typed := -1, false
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line = bytes.TrimSuffix(line, []byte("\r\n")); len(line) == 0 {
			break
		}
		if value, ok := field(line, lengthField); ok {
			length, _ = strconv.Atoi(string(value))
		} else if value, ok := field(line, typeField); ok {
			typed = string(value) == contentType
		}
	}
	if length != len(pong) || !typed {
		return fmt.Errorf("%w: length %d, of the right type: %t", errUnexpected, length, typed)
	}
	body, err := c.in.Peek(length)
	if err != nil {
		return err
	}
	if string(body) != pong {
		return fmt.Errorf("%w: %q", errUnexpected, body)
	}
	_, err = c.in.Discard(length)
	return err
}

// field returns the value of a header line if its name is the given one,
// which is in lower case and ends with a colon.
func field(line, name []byte) (value []byte, ok bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}
