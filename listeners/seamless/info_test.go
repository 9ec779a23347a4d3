package seamless

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
	"github.com/caddy-gin/caddy-gin/listeners"
)

// infoServer is a server of a configuration.
type infoServer struct {
	listen  string
	more    string // fields of JSON, each with a comma in front
	without bool   // the wrapper
}

// infoLoad loads a configuration into this process, and stops it at the end of
// the test. More is JSON of further apps, with a comma in front.
func infoLoad(t *testing.T, more string, servers ...infoServer) error {
	t.Helper()
	all := make(map[string]json.RawMessage)
	for i, s := range servers {
		wrapper := `, "listener_wrappers": [{"wrapper": "seamless"}]`
		if s.without {
			wrapper = ""
		}
		all[fmt.Sprintf("s%d", i)] = fmt.Appendf(nil, `{"listen": [%q], "automatic_https": {"disable": true},
			"routes": [{"handle": [{"handler": "static_response", "body": "ok"}]}]%s%s}`, s.listen, s.more, wrapper)
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = caddy.Stop() })
	return caddy.Load(fmt.Appendf(nil, `{"admin": {"disabled": true}, "logging": {"logs": {"default": {"level": "ERROR"}}},
		"apps": {"http": {"servers": %s}%s}}`, text, more), true)
}

// infoMustLoad is infoLoad of a configuration that must load.
func infoMustLoad(t *testing.T, more string, servers ...infoServer) {
	t.Helper()
	if err := infoLoad(t, more, servers...); err != nil {
		t.Fatal(err)
	}
}

// infoDial opens connections and makes a request over each.
func infoDial(t *testing.T, network, address string, config *tls.Config, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial(network, address)
		if err == nil && config != nil {
			conn = tls.Client(conn, config)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns[i] = conn
		infoGet(t, conn)
	}
	return conns
}

func infoGet(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" {
		t.Fatalf("got %q, %v", body, err)
	}
}

// infoOf returns what is said of an address.
func infoOf(t *testing.T, address string) AddressInfo {
	t.Helper()
	all := Addresses()
	if !slices.IsSortedFunc(all, func(a, b AddressInfo) int {
		if a.Address < b.Address {
			return -1
		}
		return 1
	}) {
		t.Errorf("not sorted: %+v", all)
	}
	i := slices.IndexFunc(all, func(a AddressInfo) bool { return a.Address == address })
	if i < 0 {
		t.Fatalf("%s is not among %+v", address, all)
	}
	return all[i]
}

// infoWant waits for figures of an address: connections are counted when the
// server sees them.
func infoWant(t *testing.T, address string, connections, carried, total, closing int) {
	t.Helper()
	want := fmt.Sprintf("%d connections, %d of %d carried, %d closing", connections, carried, total, closing)
	got := ""
	for deadline := time.Now().Add(time.Minute); got != want; time.Sleep(time.Millisecond) {
		a := infoOf(t, address)
		got = fmt.Sprintf("%d connections, %d of %d carried, %d closing", a.Connections, a.Carried, a.CarriedTotal, a.Closing)
		if time.Now().After(deadline) {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestCarriedConnections(t *testing.T) {
	port := testcaddy.FreePort(t)
	at := fmt.Sprintf("ipv4/127.0.0.1:%d", port)
	one, other := infoServer{listen: at}, infoServer{listen: at, more: `, "idle_timeout": "1m"`}
	infoMustLoad(t, "", one)
	if a := infoOf(t, at); a.TLS || a.HTTP3 || len(a.Configs) != 1 || a.Configs[0] != caddy.ActiveContext().Done() {
		t.Errorf("got %+v", a)
	}
	infoWant(t, at, 0, 0, 0, 0)
	conns := infoDial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", port), nil, 5)
	infoWant(t, at, 5, 0, 0, 0)
	infoMustLoad(t, "", one)
	infoWant(t, at, 5, 5, 5, 0)
	_ = conns[0].Close()
	infoWant(t, at, 4, 5, 5, 0)
	infoMustLoad(t, "", one)
	infoWant(t, at, 4, 4, 9, 0)
	if err := infoLoad(t, `, "no_such_app": {}`, one); err == nil {
		t.Fatal("a bad configuration was loaded")
	}
	if err := infoLoad(t, "", one, infoServer{listen: "ipv4/192.0.2.1:1"}); err == nil {
		t.Skip("192.0.2.1 is an address of this host")
	}
	infoWant(t, at, 4, 4, 9, 0)
	infoMustLoad(t, "", other) // connections of the settings before end with their next answer
	infoWant(t, at, 4, 4, 13, 4)
	infoGet(t, conns[1])
	infoWant(t, at, 3, 4, 13, 3)
	for _, conn := range conns {
		_ = conn.Close()
	}
	infoWant(t, at, 0, 4, 13, 0)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	testcaddy.Eventually(t, "nothing is left", func() bool { return len(Addresses()) == 0 && len(listeners.Sockets()) == 0 })
}

// TestConnectionsOfOtherPoliciesAreNotCarried changes TLS connection policies.
func TestConnectionsOfOtherPoliciesAreNotCarried(t *testing.T) {
	port := testcaddy.FreePort(t)
	at := fmt.Sprintf("ipv4/127.0.0.1:%d", port)
	const before, after = `, "protocols": ["h1"], "tls_connection_policies": [{}]`, `, "protocols": ["h1"], "tls_connection_policies": [{"protocol_min": "tls1.3"}]`
	certificate := infoCertificate(t)
	infoMustLoad(t, certificate, infoServer{listen: at, more: before})
	conns := infoDial(t, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}, 3) //nolint:gosec // a certificate of the test
	infoMustLoad(t, certificate, infoServer{listen: at, more: before})
	infoWant(t, at, 3, 3, 3, 0)
	if !infoOf(t, at).TLS {
		t.Error("it is said to have no TLS")
	}
	infoMustLoad(t, certificate, infoServer{listen: at, more: after})
	infoWant(t, at, 0, 0, 3, 0) // they are shut down
	for _, conn := range conns {
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("a connection goes on")
		}
	}
}

// infoCertificate returns an app that has a certificate for localhost.
func infoCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`, "tls": {"certificates": {"load_pem": [{"certificate": %q, "key": %q}]}}`,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// setsApp stands for the app gin: it has a set of options.
type setsApp struct{}

func init() { caddy.RegisterModule(setsApp{}) }

func (setsApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "gin", New: func() caddy.Module { return new(setsApp) }}
}
func (setsApp) Start() error { return nil }
func (setsApp) Stop() error  { return nil }
func (setsApp) ListenerOptions(string) (listeners.Options, error) {
	return listeners.ParseOptions("", "backlog=9&tos=8")
}
