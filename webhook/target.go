package webhook

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// timeout bounds one attempt, from the name resolution to the last byte read.
const timeout = 10 * time.Second

var errNotAllowed = errors.New("plain http is not allowed to this address")

// targets restricts requests to public addresses by https, and to the allowed
// networks by https or http. The dialled address decides, not the name. Not public
// are IANA's special-purpose addresses (RFC 6890) and IPv6 outside 2000::/3, which
// has the NAT64 and IPv4-mapped addresses.
type targets struct {
	allow  []netip.Prefix
	secure *http.Client // for https
	plain  *http.Client // for http
}

// Guarded returns an HTTP client that reaches only what webhooks may reach, and a
// function that returns the reason to refuse a URL for it, or "". It is for other
// documents whose URLs tenants choose. The client follows no redirect.
func Guarded(allow []netip.Prefix) (client *http.Client, refusal func(rawURL string) string) {
	t := newTargets(allow, nil)
	return &http.Client{Timeout: timeout, CheckRedirect: t.secure.CheckRedirect, Transport: schemeTransport{t}}, t.refusal
}

// schemeTransport sends each request by the transport of its scheme.
type schemeTransport struct{ targets *targets }

// RoundTrip implements [http.RoundTripper].
func (s schemeTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return s.targets.client(r.URL.Scheme).Transport.RoundTrip(r)
}

func newTargets(allow []netip.Prefix, roots *tls.Config) *targets {
	var v4, v6 []netip.Prefix
	for _, p := range allow {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	guard := ssrf.New(ssrf.WithAnyPort(), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
	t := &targets{allow: allow}
	t.secure = newClient(guard.Safe, roots)
	t.plain = newClient(func(_, address string, _ syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); err != nil || !t.allowed(at.Addr()) {
			return errNotAllowed
		}
		return nil
	}, nil)
	return t
}

// newClient returns a client that follows no redirect, uses no proxy, and keeps few
// idle connections.
func newClient(control func(network, address string, c syscall.RawConn) error, roots *tls.Config) *http.Client {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if roots != nil {
		config.RootCAs = roots.RootCAs
	}
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:     (&net.Dialer{Timeout: timeout, Control: control}).DialContext,
			TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true,
			MaxIdleConns: 200, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 32 << 10,
		},
	}
}

func (t *targets) client(scheme string) *http.Client {
	if scheme == "http" {
		return t.plain
	}
	return t.secure
}

// allowed reports whether an address is in a network that the operator has allowed.
func (t *targets) allowed(ip netip.Addr) bool {
	for _, p := range t.allow {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// numericHost matches hosts that some resolvers read as an IPv4 address (WHATWG
// URL, "ends in a number").
var numericHost = regexp.MustCompile(`(?i)(^|\.)([0-9]+|0x[0-9a-f]*)\.?$`)

// refusal returns the reason to refuse a URL, or "". It does not resolve the host.
func (t *targets) refusal(raw string) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil, len(raw) > maxURL, u.Opaque != "", u.Host == "", strings.ContainsFunc(raw, notPrintable):
		return "must be an absolute URL of at most 2000 characters, as in https://hooks.example.com/keyward"
	case u.User != nil:
		return "must not hold a user name or password; the signature says who sends"
	case strings.Contains(raw, "#"):
		return "must not have a fragment, which is never sent"
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "must have a port from 1 to 65535, or none"
		}
	}
	return t.refusedHost(u.Scheme, u.Hostname())
}

func (t *targets) refusedHost(scheme, host string) string {
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil && numericHost.MatchString(host):
		return "must name its host, or give its address as four decimal numbers or in brackets"
	case err == nil && ip.Zone() != "":
		return "must not have a zone in its address"
	case err == nil && t.allowed(ip):
	case err == nil && ssrf.New(ssrf.WithAnyPort()).SafeAddr(ip) != nil:
		return "must not lead to a private address"
	case scheme == "http" && err != nil && len(t.allow) > 0: // its address is checked when it is dialled
		return ""
	case scheme != "https":
		return "must begin with https://"
	}
	if scheme != "http" && scheme != "https" {
		return "must begin with https://"
	}
	return ""
}

func notPrintable(r rune) bool { return r <= ' ' || r > '~' }
