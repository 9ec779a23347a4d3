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
	child    *children.Child
	admin    *http.Client
}

func startCaddy(s *site, seamless bool) (reloader, error) {
	socket := filepath.Join(s.Dir, "admin.sock")
	c := &caddyServer{site: s, seamless: seamless, admin: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // a reload replaces the endpoint
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
	config, err := c.config(0)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.Dir, "caddy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	if c.child, err = s.Start("Caddy", s.self, caddyCommand, "run", "--config", file); err != nil {
		return nil, err
	}
	return c, s.serves(0)
}

// config returns the configuration with a number.
func (c *caddyServer) config(number int) ([]byte, error) {
	type object = map[string]any
	type list = []any
	s := c.site
	app := object{"name": "storm", "config": object{"greeting": storm.Greeting(number)}}
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
	return json.Marshal(object{
		"admin":   object{"listen": "unix/" + filepath.Join(s.Dir, "admin.sock"), "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
		"apps": object{
			"http": object{"servers": object{
				"http":  server(ip+s.http, list{seamless}, "h1"),
				"https": withTLS,
				"unix":  server(unix+s.unix, list{seamless}, "h1"),
			}},
			"tls": object{"certificates": object{"load_files": list{object{"certificate": s.certificate, "key": s.key}}}},
		},
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
