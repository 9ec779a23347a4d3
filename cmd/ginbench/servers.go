package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/caddy-gin/caddy-gin/internal/children"
)

// What every system answers.
const (
	pong        = `{"message":"pong"}`
	contentType = "application/json; charset=utf-8"
)

// serveGin is the child that serves plain Gin, on a TCP address and on a Unix
// socket, until its standard input ends or it is interrupted.
func serveGin(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%s takes an address and the path of a socket", serverCommand)
	}
	tcp, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	unix, err := net.Listen("unix", args[1])
	if err != nil {
		return err
	}
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	answer := []byte(pong)
	// as the demonstration app has it: what respond has ready is ready here, too
	r.GET("/ping", func(c *gin.Context) { c.Data(http.StatusOK, contentType, answer) })
	server := &http.Server{Handler: r} //nolint:gosec // as gin.Engine.Run has it; only this machine reaches it
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(tcp) }()
	go func() { ended <- server.Serve(unix) }()
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	return <-ended
}

// startCaddy starts one Caddy with a server for each of its systems. The
// configuration is JSON because a Caddyfile cannot give respond a header
// without another handler before it.
func startCaddy(f *children.Family, path string, systems []*system, ginTCP, ginUnix string) error {
	type object = map[string]any
	type list = []any
	proxy := func(dial string) object {
		return object{"handler": "reverse_proxy", "upstreams": list{object{"dial": dial}}}
	}
	servers := make(object)
	for i, handler := range map[int]object{
		ginInCaddy: {"handler": "gin", "app": object{"name": "hello"}},
		respond: {"handler": "static_response", "body": pong,
			"headers": object{"Content-Type": list{contentType}}},
		proxyTCP:  proxy(ginTCP),
		proxyUnix: proxy("unix/" + ginUnix),
	} {
		servers[fmt.Sprint("server", i)] = object{
			"listen":          list{systems[i].address},
			"automatic_https": object{"disable": true},
			"routes":          list{object{"handle": list{handler}}},
		}
	}
	config, err := json.Marshal(object{
		"admin":   object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
		"apps":    object{"http": object{"servers": servers}},
	})
	if err != nil {
		return err
	}
	file := filepath.Join(f.Dir, "caddy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return err
	}
	_, err = f.Start("Caddy", path, "run", "--config", file)
	return err
}

// nginxConfig is nginx as a proxy that keeps its connections; what is not
// here is as nginx has it. $DIR and the like are replaced.
const nginxConfig = `
daemon off;
pid $DIR/nginx.pid;
worker_processes 2;
error_log stderr crit;
$USER
events { worker_connections 10000; }
http {
	access_log off;
	client_body_temp_path $DIR/nginx1;
	proxy_temp_path $DIR/nginx2;
	fastcgi_temp_path $DIR/nginx3;
	uwsgi_temp_path $DIR/nginx4;
	scgi_temp_path $DIR/nginx5;
	keepalive_requests 1000000000;
	tcp_nodelay on;
	upstream gin_tcp { server $GIN_TCP; keepalive 4096; keepalive_requests 1000000000; }
	upstream gin_unix { server unix:$GIN_UNIX; keepalive 4096; keepalive_requests 1000000000; }
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	proxy_set_header Host $host;
	proxy_set_header X-Forwarded-For $remote_addr;
	proxy_set_header X-Forwarded-Proto $scheme;
	server { listen $LISTEN_TCP; location / { proxy_pass http://gin_tcp; } }
	server { listen $LISTEN_UNIX; location / { proxy_pass http://gin_unix; } }
}
`

func startNginx(f *children.Family, path string, systems []*system, ginTCP, ginUnix string) error {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;" // who may enter the folder of the socket
	}
	config := strings.NewReplacer("$DIR", f.Dir, "$USER", user, "$GIN_TCP", ginTCP, "$GIN_UNIX", ginUnix,
		"$LISTEN_TCP", systems[nginxTCP].address, "$LISTEN_UNIX", systems[nginxUnix].address).Replace(nginxConfig)
	file := filepath.Join(f.Dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	_, err := f.Start("nginx", path, "-c", file, "-p", f.Dir)
	return err
}
