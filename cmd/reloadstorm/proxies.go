package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/caddy-gin/caddy-gin/internal/children"
	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// proxy is a server before plain Gin. It answers /greeting itself, as that is
// what its configurations differ in.
type proxy struct {
	site   *site
	file   string // of its configuration
	config string // $GREETING is the place of the greeting
	again  func(ctx context.Context) error
}

func (p *proxy) reload(_ context.Context, number int) error {
	if err := p.write(number); err != nil {
		return err
	}
	var sent time.Time
	return p.site.Await(fmt.Sprintf("configuration %d", number), func(ctx context.Context) error {
		if time.Since(sent) > time.Second { // HAProxy overhears what comes while it is not done with the one before
			if err := p.again(ctx); err != nil {
				return err
			}
			sent = time.Now()
		}
		return p.site.answers(ctx, number)
	})
}

func (p *proxy) write(number int) error {
	return os.WriteFile(p.file, []byte(strings.ReplaceAll(p.config, "$GREETING", storm.Greeting(number))), 0o600)
}

// expand fills in the addresses of a site.
func (s *site) expand(text string) string {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // who may enter the folder of the socket
	}
	return strings.NewReplacer("$DIR", s.Dir, "$USER", user, "$BACKEND", s.other,
		"$HTTPS", s.https, "$HTTP", s.http, "$UNIX", s.unix, "$CERT", s.certificate, "$KEY", s.key).Replace(text)
}

// nginxConfig is nginx as a proxy. What is not here is as nginx has it.
const nginxConfig = `
daemon off;
pid $DIR/nginx.pid;
worker_processes 2;
worker_rlimit_nofile 10000;
error_log stderr crit;
$USER
events { worker_connections 8000; }
http {
	access_log off;
	client_body_temp_path $DIR/nginx1;
	proxy_temp_path $DIR/nginx2;
	fastcgi_temp_path $DIR/nginx3;
	uwsgi_temp_path $DIR/nginx4;
	scgi_temp_path $DIR/nginx5;
	keepalive_requests 1000000000;
	tcp_nodelay on;
	ssl_certificate $CERT;
	ssl_certificate_key $KEY;
	upstream backend { server $BACKEND; keepalive 64; keepalive_requests 1000000000; }
	server {
		listen $HTTP;
		listen $HTTPS ssl http2;
		listen unix:$UNIX;
		default_type text/plain;
		location = /greeting { return 200 "$GREETING"; }
		location / {
			proxy_pass http://backend;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_buffering off;
		}
	}
}
`

func startNginx(s *site) (reloader, error) {
	if err := startBackend(s); err != nil {
		return nil, err
	}
	p := &proxy{site: s, file: filepath.Join(s.Dir, "nginx.conf"), config: s.expand(nginxConfig)}
	if err := p.write(0); err != nil {
		return nil, err
	}
	nginx := children.Program("nginx")
	if _, err := s.Start("nginx", nginx, "-c", p.file, "-p", s.Dir); err != nil {
		return nil, err
	}
	p.again = func(ctx context.Context) error {
		if out, err := exec.CommandContext(ctx, nginx, "-c", p.file, "-p", s.Dir, "-s", "reload").CombinedOutput(); err != nil {
			return fmt.Errorf("nginx -s reload: %w\n%s", err, out)
		}
		return nil
	}
	return p, s.serves(0)
}

// haproxyConfig is HAProxy as a proxy whose new workers get the sockets from the
// old ones.
const haproxyConfig = `
global
	maxconn 8000
	stats socket $DIR/haproxy.sock mode 600 level admin expose-fd listeners
defaults
	mode http
	timeout connect 5s
	timeout client 60s
	timeout server 60s
	$OPTION
frontend all
	bind $HTTP
	bind $HTTPS ssl crt $DIR/both.pem alpn h2,http/1.1
	bind unix@$UNIX
	http-request return status 200 content-type text/plain string "$GREETING" if { path /greeting }
	default_backend gin
backend gin
	server gin $BACKEND
`

func startHAProxy(s *site, option string) (reloader, error) {
	if err := startBackend(s); err != nil {
		return nil, err
	}
	var both []byte
	for _, file := range []string{s.certificate, s.key} {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		both = append(both, text...)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "both.pem"), both, 0o600); err != nil {
		return nil, err
	}
	config := strings.ReplaceAll(haproxyConfig, "$OPTION", option)
	p := &proxy{site: s, file: filepath.Join(s.Dir, "haproxy.cfg"), config: s.expand(config)}
	if err := p.write(0); err != nil {
		return nil, err
	}
	child, err := s.Start("haproxy", children.Program("haproxy"), "-W", "-f", p.file)
	if err != nil {
		return nil, err
	}
	p.again = func(context.Context) error { return child.Signal(reloadSignal) }
	return p, s.serves(0)
}
