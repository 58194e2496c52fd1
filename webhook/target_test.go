package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/jwks"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// private are addresses that nothing may be posted to, in spellings that some
// resolver or library knows.
var private = []string{
	"127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.127.255.255",
	"192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "fc00::1", "fd12:3456::1",
	"fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "2002:7f00:1::", "2001::1", "100::1",
}

// An address in the URL is refused at once, whatever it is called.
func TestPrivateAddressesAreRefused(t *testing.T) {
	none := newTargets(nil, nil)
	for _, ip := range private {
		for _, scheme := range []string{"http", "https"} {
			if u := (&url.URL{Scheme: scheme, Host: net.JoinHostPort(ip, "8443"), Path: "/"}).String(); none.refusal(u) == "" {
				t.Errorf("%s is accepted", u)
			}
		}
	}
	for _, host := range []string{"2130706433", "0x7f000001", "0X7F.1", "127.1", "017700000001", "0177.0.0.1", "127.0.0.1.", "10.0.1", "hooks.0x7f", "localhost.1"} {
		if u := "https://" + host + "/"; none.refusal(u) == "" {
			t.Errorf("%s is accepted", u)
		}
	}
	for _, u := range []string{"https://hooks.example.com/x?y=z", "https://93.184.215.14/", "https://[2606:4700::1111]:8443/", "https://0x7f.example.com/"} {
		if message := none.refusal(u); message != "" {
			t.Errorf("%s %s", u, message)
		}
	}
	some := newTargets(loopback, nil)
	for u, fine := range map[string]bool{
		"http://127.0.0.1:8080/": true, "https://127.0.0.1/": true, "http://[::1]/": true, "http://receiver.internal/": true, "https://10.0.0.1/": false,
		"http://93.184.215.14/": false, "ftp://127.0.0.1/": false, "ftp://x.example/": false,
	} {
		if message := some.refusal(u); (message == "") != fine {
			t.Errorf("%s %q", u, message)
		}
	}
}

// refusedAddress matches the causes of connections that were not tried.
var refusedAddress = regexp.MustCompile(`prohibited|not allowed`)

// What counts is where a connection really leads: a name, however it is spelt
// and whenever it is resolved, reaches nothing that its address may not.
func TestPrivateAddressesAreNotDialled(t *testing.T) {
	reached := false
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	trusting := &tls.Config{RootCAs: roots}
	for _, host := range append([]string{"localhost", "0x7f000001", "2130706433", "127.1"}, private...) {
		for _, scheme := range []string{"https", "http"} {
			u := (&url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}).String()
			a := newTargets(nil, trusting).post(t.Context(), u, request{header: http.Header{}})
			if a.class != "connection_failed" || a.status != 0 || reached {
				t.Errorf("%s: %+v", u, a)
			}
			if _, err := netip.ParseAddr(host); (err == nil || host == "localhost") && !refusedAddress.MatchString(a.cause) {
				t.Errorf("%s: %+v", u, a)
			}
		}
	}
	if a := newTargets(loopback, trusting).post(t.Context(), s.URL, request{header: http.Header{}}); a.status != 200 || !reached {
		t.Errorf("an allowed network: %+v", a)
	}
	if a := newTargets(loopback, nil).post(t.Context(), s.URL, request{header: http.Header{}}); a.class != "tls_failed" {
		t.Errorf("a certificate of nobody's: %+v", a)
	}
	if a := newTargets(loopback, nil).post(t.Context(), "http://93.184.215.14/", request{header: http.Header{}}); a.class != "connection_failed" || !refusedAddress.MatchString(a.cause) {
		t.Errorf("plain HTTP to a public address: %+v", a)
	}
}

// The same holds for the documents of issuers that tenants name: neither a name, nor a
// redirect, nor a URL in a document leads a client elsewhere.
func TestIssuersLeadNowhereElse(t *testing.T) {
	reached := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer elsewhere.Close()
	_, port, _ := net.SplitHostPort(elsewhere.Listener.Addr().String())
	nothing, _ := Guarded(nil)
	for _, u := range []string{"http://localhost:" + port, "https://localhost:" + port, elsewhere.URL} {
		if resp, err := nothing.Get(u); err == nil || reached {
			t.Errorf("%s: %v", u, resp)
		}
	}

	var issuer string
	allowed := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/redirected/.well-known/openid-configuration" {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer+"/named", elsewhere.URL)
	}))
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6:", err)
	}
	allowed.Listener.Close()
	allowed.Listener = l
	allowed.Start()
	defer allowed.Close()
	issuer = allowed.URL
	client, _ := Guarded([]netip.Prefix{netip.MustParsePrefix("::1/128")})
	for _, path := range []string{"/redirected", "/named"} {
		keys, err := jwks.New(jwks.Config{Issuer: issuer + path, HTTPClient: client, AllowHTTP: true})
		if err != nil {
			t.Fatal(err)
		}
		if set, err := keys.Keys(t.Context()); err == nil || reached {
			t.Errorf("%s: %v", path, set)
		}
	}
}

// A proxy would resolve names itself.
func TestNoProxyOfTheEnvironment(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	for _, scheme := range []string{"http", "https"} {
		if newTargets(nil, nil).client(scheme).Transport.(*http.Transport).Proxy != nil {
			t.Errorf("%s goes through a proxy", scheme)
		}
	}
}

func TestErrorsHaveClasses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	ts := newTargets(loopback, nil)
	for u, class := range map[string]string{
		"http://" + nobody:            "connection_failed",
		"https://nobody.invalid/":     "connection_failed",
		"http://nobody.invalid:8080/": "connection_failed",
		"http://%zz":                  "invalid_url",
	} {
		if a := ts.post(t.Context(), u, request{header: http.Header{}}); a.class != class {
			t.Errorf("%s: %+v, want %s", u, a, class)
		}
	}
	for want, err := range map[string]error{
		"timeout": fmt.Errorf("x: %w", context.DeadlineExceeded), "tls_failed": tls.RecordHeaderError{}, "connection_failed": errors.New("what answers inside"),
	} {
		if got := errorClass(err, true); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
		if got := errorClass(err, false); got != "connection_failed" {
			t.Errorf("%v without a connection is %s", err, got)
		}
	}
}

func TestAnswersSayWhenToComeBack(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"": 0, "120": 2 * time.Minute, "-1": 0, "1.5": 0, "soon": 0,
		"Tue, 24 Nov 2026 12:00:30 GMT": 30 * time.Second, "Tue, 24 Nov 2026 11:00:00 GMT": 0,
	} {
		res := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{
			"Retry-After": {value}, "Date": {"Tue, 24 Nov 2026 12:00:00 GMT"},
		}}
		if got := answerOf(res).retryAfter; got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

// A delivery to a receiver that was not reached says the same to the tenant whatever
// the reason, so that it does not tell whether a name exists in the operator's network.
// The operator's log has the reason, and no part of the URL but the host.
func TestUnreachedReceiversLookAlike(t *testing.T) {
	w := newWorld(t)
	w.store = NewStore(Config{DB: w.db, Now: w.clock}) // no private network is allowed
	acme := w.tenant("acme")
	hosts := map[string]string{ // and what the operator's log says
		"nobody.invalid": "no such host",
		"localhost":      "prohibited", // resolves to a private address
	}
	hooks := map[string]Webhook{}
	for host := range hosts {
		hooks[host] = w.hook(&acme, "https://"+host+"/a-secret-path")
	}
	w.happens(acme, 1)
	var log bytes.Buffer
	s := w.sender()
	s.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	w.once(s)
	seen := map[string]bool{}
	for host, hook := range hooks {
		list, _, err := w.store.Deliveries(t.Context(), &acme, hook.ID, Filter{})
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v, %v", host, list, err)
		}
		d := list[0]
		seen[fmt.Sprint(d.Status, d.LastError, d.LastStatus, d.Attempts)] = true
		line := ""
		for l := range strings.Lines(log.String()) {
			if strings.Contains(l, hook.ID.String()) {
				line += l
			}
		}
		if !strings.Contains(line, hosts[host]) {
			t.Errorf("the log says of %s: %q", host, line)
		}
	}
	if len(seen) != 1 {
		t.Errorf("a tenant can tell them apart: %v", seen)
	}
	if strings.Contains(log.String(), "a-secret-path") {
		t.Errorf("the log has a URL: %s", log.String())
	}
}
