package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/caddy-gin/caddy-gin/internal/children"
	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// caddyServer is a Caddy with the app in it.
type caddyServer struct {
	site     *site
	seamless bool
	line     *line           // of upgrades, or
	child    *children.Child // the last process
	started  int             // children
	socket   string          // of the admin endpoint
	admin    *http.Client
}

func startCaddy(s *site, seamless bool) (reloader, error) {
	c := &caddyServer{site: s, seamless: seamless}
	c.admin = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // a reload replaces the endpoint
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", c.socket)
		},
	}}
	if err := c.start(0); err != nil {
		return nil, err
	}
	serves := func(ctx context.Context) error { return s.answers(ctx, 0) }
	if c.line != nil {
		return c, c.line.await("Caddy", serves)
	}
	return c, s.Await("Caddy", serves)
}

// start starts a process with an admin endpoint of its own.
func (c *caddyServer) start(number int) error {
	s := c.site
	c.started++
	c.socket = filepath.Join(s.Dir, fmt.Sprintf("admin%d.sock", c.started))
	config, err := c.config(number)
	if err != nil {
		return err
	}
	file := filepath.Join(s.Dir, "caddy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	switch run := []string{"run", "--config", file}; {
	case s.version == 0:
		c.child, err = s.Start("Caddy", s.self, append([]string{caddyCommand}, run...)...)
	case c.seamless:
		c.line, err = s.startLine(run...)
	default:
		c.child, err = s.Start("Caddy", s.self, run...)
	}
	return err
}

// pid is the process ID of the process that serves.
func (c *caddyServer) pid() int {
	if c.line != nil {
		return c.line.pid
	}
	return c.child.PID()
}

// config returns the configuration with a number.
func (c *caddyServer) config(number int) ([]byte, error) {
	type object = map[string]any
	type list = []any
	s := c.site
	appConfig := object{"greeting": storm.Greeting(number)}
	if s.version > 0 {
		appConfig["goodbye"] = goodbye.String()
	}
	app := object{"name": "storm", "config": appConfig}
	server := func(listen string, wrappers list, protocols ...string) object {
		o := object{
			"listen":          list{listen},
			"protocols":       protocols,
			"automatic_https": object{"disable": true},
			"routes":          list{object{"handle": list{object{"handler": "gin", "app": app}}}},
		}
		if c.seamless {
			o["listener_wrappers"] = wrappers
		}
		return o
	}
	ip, unix := "tcp/", "unix/"
	if c.seamless {
		ip, unix = "ipv4/", "unixsock/"
	}
	seamless := object{"wrapper": "seamless"}
	withTLS := server(ip+s.https, list{object{"wrapper": "seamless", "h3": true}}, "h1", "h2")
	if !c.seamless {
		withTLS["protocols"] = list{"h1", "h2", "h3"}
	}
	withTLS["tls_connection_policies"] = list{object{}}
	apps := object{
		"http": object{"servers": object{
			"http":  server(ip+s.http, list{seamless}, "h1"),
			"https": withTLS,
			"unix":  server(unix+s.unix, list{seamless}, "h1"),
		}},
		"tls": object{"certificates": object{"load_files": list{object{"certificate": s.certificate, "key": s.key}}}},
	}
	if s.version > 0 {
		apps["gin"] = object{"upgrade": object{"probation": probation.String(), "drain": drain.String()}}
	}
	if s.version > 0 && !c.seamless {
		apps["http"].(object)["grace_period"] = grace.String()
	}
	return json.Marshal(object{
		"admin":   object{"listen": "unix/" + c.socket, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
		"apps":    apps,
	})
}

func (c *caddyServer) reload(ctx context.Context, number int) error {
	config, err := c.config(number)
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		_, err = c.call(ctx, http.MethodPost, "/load", config)
		if _, broken := errors.AsType[*url.Error](err); !broken || attempt == 5 {
			return err // the endpoint is replaced by each load, and Go repeats no POST
		}
	}
}

// call calls the admin API.
func (c *caddyServer) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://caddy"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.admin.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, err
}
