package upgrade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/listeners"
)

// Admin is the admin endpoint through which an upgrade was asked for.
type Admin struct {
	server  *http.Server
	request *http.Request // tells how to ask for more
	address caddy.NetworkAddress

	aside string // what the socket's file is called while the successor has its name
	kept  net.Listener
}

// NewAdmin returns the endpoint that serves a request.
func NewAdmin(r *http.Request) (*Admin, error) {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok {
		return nil, errors.New("the request did not come over an admin endpoint")
	}
	address, err := caddy.ParseNetworkAddress(server.Addr)
	if err != nil {
		return nil, err
	}
	if address.IsFdNetwork() && !listeners.Ours(address.Network) {
		return nil, fmt.Errorf("the admin endpoint %s cannot be handed over: the successor has no such descriptor; let Caddy open it, as in `admin unix//run/caddy.sock`", server.Addr)
	}
	return &Admin{server: server, request: r, address: address}, nil
}

// config returns the configuration that runs. It waits for one that is being
// loaded.
func (a *Admin) config() ([]byte, error) {
	r := a.request.Clone(context.WithoutCancel(a.request.Context()))
	r.Method, r.URL.Path, r.URL.RawQuery, r.Body, r.ContentLength = http.MethodGet, "/config/", "", http.NoBody, 0
	r.RequestURI = "/config/"
	answer := recorder{header: make(http.Header)}
	a.server.Handler.ServeHTTP(&answer, r)
	if answer.status != 0 && answer.status != http.StatusOK {
		return nil, fmt.Errorf("reading the running configuration: %s", bytes.TrimSpace(answer.body.Bytes()))
	}
	return bytes.TrimSpace(answer.body.Bytes()), nil
}

// recorder is a response that stays here.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return r.body.Write(p) }
func (r *recorder) WriteHeader(status int)      { r.status = status }

// prepare keeps a second name of a Unix socket, whose name the successor takes.
func (a *Admin) prepare() error {
	path := a.path()
	if path == "" {
		return nil
	}
	a.aside = besides(path, os.Getpid())
	_ = os.Remove(a.aside)
	if err := os.Link(path, a.aside); err != nil {
		return fmt.Errorf("keeping the name of the admin socket: %w", err)
	}
	return nil
}

// path returns the path of a Unix socket, or "".
func (a *Admin) path() string {
	if !a.address.IsUnixNetwork() || listeners.Ours(a.address.Network) {
		return ""
	}
	if name := listenPath(a.address); name[0] != '@' {
		return name
	}
	return ""
}

// body tells the successor about a Unix socket.
func (a *Admin) body() loadBody {
	if a.path() == "" {
		return loadBody{}
	}
	return loadBody{AdminSocket: a.address.String()}
}

// leave ends the connections that clients keep, as from now on the successor
// answers.
func (a *Admin) leave() { a.server.SetKeepAlivesEnabled(false) }

// restore undoes what prepare and leave did, and what a successor left, if there
// was one.
func (a *Admin) restore(successor int) {
	a.server.SetKeepAlivesEnabled(true)
	if a.aside != "" {
		_ = os.Remove(besides(a.path(), successor))
		_ = os.Rename(a.aside, a.path())
		_ = os.Remove(a.aside) // both were names of one file
		a.aside = ""
	}
}

// forsake leaves the name of a Unix socket to the successor for good: Caddy
// removes it when it closes the last of the listeners that it knows of, so there is
// one more that stays open.
func (a *Admin) forsake() error {
	if a.aside != "" {
		_ = os.Remove(a.aside)
		a.aside = ""
	}
	if a.path() == "" {
		return nil
	}
	kept, err := a.address.Listen(context.Background(), 0, net.ListenConfig{})
	if err == nil {
		a.kept, _ = kept.(net.Listener)
	}
	return err
}

// close stops the endpoint, but for requests that are under way.
func (a *Admin) close() {
	go func() { _ = a.server.Shutdown(context.WithoutCancel(a.request.Context())) }() // as Caddy does once more at the end
}
