package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/internal/children"
	"github.com/caddy-gin/caddy-gin/internal/storm"
)

// system is a way to serve the app, and to reload.
type system struct {
	name string
	// missing tells what is missing here, if anything.
	missing func() string
	// cannot tells why the system does not do this, or "".
	cannot func(storm.Protocol, storm.Behaviour) string
	start  func(*site) (reloader, error)
	// upgrades tells whether what start returns is an upgrader.
	upgrades bool
}

// reloader is a running system.
type reloader interface {
	// reload loads the configuration with this number and returns when it serves.
	reload(ctx context.Context, number int) error
}

// systems returns all systems. The plugin is the first.
func systems() []*system {
	return []*system{
		{"caddy-gin", needsModule("caddy.listeners.seamless"), caddyCannot, func(s *site) (reloader, error) { return startCaddy(s, true) }, true},
		{"caddy", nothing, caddyCannot, func(s *site) (reloader, error) { return startCaddy(s, false) }, true},
		{"gin", needsReusePort, ginCannot, startGin, true},
		{"gin-fork", needsLinux, ginCannot, startFork, true},
		{"nginx", needsProgram("nginx"), proxyCannot, startNginx, false},
		{"haproxy", needsProgram("haproxy"), proxyCannot, func(s *site) (reloader, error) { return startHAProxy(s, "") }, false},
		{"haproxy-idle", needsProgram("haproxy"), proxyCannot, func(s *site) (reloader, error) {
			return startHAProxy(s, "option idle-close-on-response")
		}, false},
	}
}

func nothing() string { return "" }

func needsModule(id string) func() string {
	return func() string {
		if _, err := caddy.GetModule(id); err != nil {
			return "no module " + id
		}
		return ""
	}
}

func needsProgram(name string) func() string {
	return func() string {
		if children.Program(name) == "" {
			return name + " is not installed"
		}
		return ""
	}
}

func caddyCannot(storm.Protocol, storm.Behaviour) string { return "" }

func ginCannot(p storm.Protocol, _ storm.Behaviour) string {
	if p == storm.HTTP3 {
		return "net/http has no HTTP/3"
	}
	return ""
}

func proxyCannot(p storm.Protocol, b storm.Behaviour) string {
	switch {
	case p == storm.HTTP3:
		return "not in every build"
	case b == storm.WebSocket:
		return "not set up here"
	}
	return ""
}

// site is where a system serves.
type site struct {
	*children.Family
	self              string // this program, or where versions of it are installed
	versions          []string
	version           int    // the one that is installed, the first digit of greetings; 0 is this program
	http, https, unix string // addresses
	other             string // an address for whatever a system needs
	certificate, key  string // files
}

// newSite finds the addresses of a system that is to run in the family's folder,
// by one of the versions of this program if there are any.
func newSite(family *children.Family, versions []string) (*site, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ports, err := children.FreePorts(3)
	if err != nil {
		return nil, err
	}
	s := &site{
		Family: family, self: self, versions: versions,
		http: ports[0], https: ports[1], other: ports[2], unix: filepath.Join(family.Dir, "app.sock"),
		certificate: filepath.Join(family.Dir, "cert.pem"), key: filepath.Join(family.Dir, "key.pem"),
	}
	if len(versions) > 0 {
		s.self = filepath.Join(s.Dir, upgradable)
		if err := s.install(1); err != nil {
			return nil, err
		}
	}
	return s, s.writeCertificate()
}

// greeting returns what a configuration greets with.
func (s *site) greeting(number int) string { return storm.Greeting(s.version*100_000 + number) }

// address returns where clients of a protocol connect to.
func (s *site) address(p storm.Protocol) string {
	switch p {
	case storm.HTTP1:
		return s.http
	case storm.Unix:
		return s.unix
	}
	return s.https
}

// serves waits until a new connection gets the answer of a configuration.
func (s *site) serves(number int) error {
	return s.Await(fmt.Sprintf("configuration %d", number), func(ctx context.Context) error { return s.answers(ctx, number) })
}

// answers returns nil if a new connection gets the answer of a configuration.
func (s *site) answers(ctx context.Context, number int) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.http)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, "GET /greeting HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != s.greeting(number) {
		err = fmt.Errorf("status %s: %.100q", resp.Status, body)
	}
	return err
}

// writeCertificate makes a certificate that nobody trusts.
func (s *site) writeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(10 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	if err := os.WriteFile(s.certificate, certPEM, 0o600); err != nil {
		return err
	}
	return os.WriteFile(s.key, keyPEM, 0o600)
}
