package seamless

import (
	"log"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// How the front treats a setting of a server.
const (
	mirrored   = "mirrored: an epoch's http.Server has the same, and new connections get another epoch if it changes"
	perRequest = "per request: Caddy's server looks it up in its ServeHTTP, or its routes do"
	perNew     = "per new connection: the listener or the current configuration has it"
	elsewhere  = "elsewhere: Caddy makes use of it, without the server"
	own        = "own: the front has its own"
)

// caddyFields are the exported fields of caddyhttp.Server.
var caddyFields = map[string]string{
	"Listen":                    own, // addressesOf
	"ListenerWrappersRaw":       own, // isLast
	"PacketConnWrappersRaw":     elsewhere,
	"ReadTimeout":               mirrored,
	"ReadHeaderTimeout":         mirrored,
	"ReadIdleTimeout":           perRequest,
	"ReadMinRate":               perRequest,
	"WriteTimeout":              mirrored,
	"WriteIdleTimeout":          perRequest,
	"WriteMinRate":              perRequest,
	"MaxWriteChunk":             perRequest,
	"IdleTimeout":               mirrored,
	"KeepAliveInterval":         perNew,
	"KeepAliveIdle":             perNew,
	"KeepAliveCount":            perNew,
	"MaxHeaderBytes":            mirrored,
	"EnableFullDuplex":          perRequest,
	"ExpectedUnderscoreHeaders": perRequest,
	"ExpectedDotHeaders":        perRequest,
	"Routes":                    perRequest,
	"Errors":                    perRequest,
	"NamedRoutes":               perRequest,
	"TLSConnPolicies":           own, // policiesOf
	"AutoHTTPS":                 elsewhere,
	"StrictSNIHost":             perRequest,
	"TrustedProxiesRaw":         perRequest,
	"ClientIPHeaders":           perRequest,
	"TrustedProxiesStrict":      perRequest,
	"TrustedProxiesUnix":        perRequest,
	"Logs":                      perRequest,
	"Protocols":                 mirrored,
	"ListenProtocols":           mirrored,
	"Allow0RTT":                 perNew, // with HTTP/3
	"Metrics":                   perRequest,
}

// goFields are the exported fields of http.Server, as Caddy sets them.
var goFields = map[string]string{
	"Addr":                         elsewhere, // of ListenAndServe
	"Handler":                      own,
	"DisableGeneralOptionsHandler": own, // Caddy does not set it
	"TLSConfig":                    own, // the listener has one
	"ReadTimeout":                  mirrored,
	"ReadHeaderTimeout":            mirrored,
	"WriteTimeout":                 mirrored,
	"IdleTimeout":                  mirrored,
	"MaxHeaderBytes":               mirrored,
	"TLSNextProto":                 own,
	"ConnState":                    own, // functions of modules see no connection of the front
	"ErrorLog":                     perNew,
	"BaseContext":                  own, // Caddy does not set it
	"ConnContext":                  perNew,
	"HTTP2":                        own, // Caddy does not set it
	"Protocols":                    mirrored,
}

// TestFieldsOfServers fails when a release of Caddy or Go adds a field to a
// server, or removes one: decide what the front has to do about it.
func TestFieldsOfServers(t *testing.T) {
	for _, tt := range []struct {
		server any
		known  map[string]string
	}{{caddyhttp.Server{}, caddyFields}, {http.Server{}, goFields}} {
		server := reflect.TypeOf(tt.server)
		fields := make(map[string]bool)
		for _, field := range reflect.VisibleFields(server) {
			if fields[field.Name] = true; field.IsExported() && tt.known[field.Name] == "" {
				t.Errorf("%s has a field %s that is not in the list", server, field.Name)
			}
		}
		for name := range tt.known {
			if !fields[name] {
				t.Errorf("%s has no field %s any more", server, name)
			}
		}
	}
}

// caddyServer returns a server as Caddy makes it, with all that is mirrored.
func caddyServer() *http.Server {
	server := &http.Server{
		ReadTimeout: time.Second, ReadHeaderTimeout: 2 * time.Second, WriteTimeout: 3 * time.Second,
		IdleTimeout: 4 * time.Second, MaxHeaderBytes: 5000, Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	return server
}

// TestEpochMirrors checks what the list says of http.Server.
func TestEpochMirrors(t *testing.T) {
	at := address{http1: true}
	f := &front{errorLog: log.Default()}
	e := newEpoch(f, settingsOf(caddyServer(), at, ""), caddyServer())
	for name, how := range goFields {
		if how != mirrored {
			continue
		}
		got, want := reflect.ValueOf(e.server).Elem().FieldByName(name), reflect.ValueOf(caddyServer()).Elem().FieldByName(name)
		if !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
		if want.IsZero() {
			t.Errorf("%s is not tried", name)
		}
	}
	for i, change := range []func(*http.Server){
		func(s *http.Server) { s.ReadTimeout++ },
		func(s *http.Server) { s.ReadHeaderTimeout++ },
		func(s *http.Server) { s.WriteTimeout++ },
		func(s *http.Server) { s.IdleTimeout++ },
		func(s *http.Server) { s.MaxHeaderBytes++ },
	} {
		changed := caddyServer()
		if change(changed); settingsOf(changed, at, "") == settingsOf(caddyServer(), at, "") {
			t.Errorf("change %d is not noticed", i)
		}
	}
}
