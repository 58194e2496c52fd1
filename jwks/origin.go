package jwks

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// harmlessHeaders are the fields of [Config.Header] that other hosts than the
// configured ones may see: they say nothing that a secret could be in.
var harmlessHeaders = []string{"User-Agent", "Accept", "Accept-Language"}

// hostOf returns a URL's host and port in the one form in which hosts are
// compared: in lower case, and with the port in any case (RFC 3986 section 6.2.3).
func hostOf(u *url.URL) string {
	return joinPort(strings.ToLower(u.Hostname()), u.Port(), u.Scheme)
}

func joinPort(host, port, scheme string) string {
	if port == "" {
		port = "443"
		if strings.EqualFold(scheme, "http") {
			port = "80"
		}
	}
	return net.JoinHostPort(host, port)
}

// isRedirectHost reports whether a redirect to u is configured.
func (c *Config) isRedirectHost(u *url.URL) bool {
	return slices.ContainsFunc(c.RedirectHosts, func(host string) bool {
		named, err := url.Parse(u.Scheme + "://" + host)
		return err == nil && hostOf(named) == hostOf(u)
	})
}

// isConfiguredHost reports whether u has the scheme and host of the configured
// URL or issuer, which alone are trusted with the whole of [Config.Header].
func (c *Config) isConfiguredHost(u *url.URL) bool {
	for _, address := range []string{c.URL, c.Issuer} {
		if own, err := url.Parse(address); err == nil && address != "" && own.Scheme == u.Scheme && hostOf(own) == hostOf(u) {
			return true
		}
	}
	return false
}

// setHeaders adds the configured header fields to a request, as far as its host
// may see them, and removes them otherwise.
func (c *Config) setHeaders(r *http.Request) {
	trusted := c.isConfiguredHost(r.URL)
	for name, values := range c.Header {
		name = http.CanonicalHeaderKey(name)
		switch {
		case trusted || slices.Contains(harmlessHeaders, name):
			r.Header[name] = values
		default:
			delete(r.Header, name)
		}
	}
}
