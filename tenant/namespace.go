package tenant

import (
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"

	"github.com/keyward/keyward/internal/loopback"
)

// Namespace is the name space that all tenants share: issuers, which tell a
// verifier whose keys to trust, and hosts, by which keys are served. In it each name
// belongs to at most one live tenant. The zero value knows no public URL.
type Namespace struct {
	publicURL webName
	plainHTTP bool // issuers may be plain http, for other machines too
}

// WithPlainHTTP returns the name space in which issuers of other machines may be plain
// http as well: whoever is on the way can give verifiers of such an issuer other keys.
func (n Namespace) WithPlainHTTP(allowed bool) Namespace {
	n.plainHTTP = allowed
	return n
}

// NewNamespace returns the name space below a public URL, which belongs to the
// platform.
func NewNamespace(publicURL string) Namespace {
	name, _ := parseWebName(publicURL) // a host that is no name, as in tests, is compared by nobody
	return Namespace{publicURL: name}
}

// Names are what a tenant has in the name space.
type Names struct {
	Issuer     *string // the canonical form of its own issuer; nil: the issuer follows from the slug
	IssuerHost string  // of its own issuer, unless that is below the public URL; empty: none
	Domain     string  // its custom domain; empty: none
}

// Names returns the names of a tenant. It refuses names that are reserved, or belong to
// another tenant by its slug. Errors: *FieldErrors.
func (n Namespace) Names(t Tenant) (Names, error) {
	var broken fields
	names := Names{Domain: t.CustomDomain}
	n.checkDomain(&broken, t.CustomDomain)
	if t.OwnIssuer != "" {
		names.Issuer, names.IssuerHost = n.issuerName(&broken, t)
	}
	return names, broken.fieldErrors()
}

// checkDomain refuses hosts that are the platform's, or that every machine resolves
// by itself, so that whoever asks there means another service.
func (n Namespace) checkDomain(broken *fields, domain string) {
	switch {
	case domain == "":
	case domain == n.publicURL.host:
		broken.add("custom_domain", "must not be the host of this service's public URL")
	case !strings.Contains(domain, ".") || strings.HasSuffix(domain, ".localhost"):
		broken.add("custom_domain", "must be a fully qualified host name, and not localhost")
	case !isCanonicalHost(domain):
		broken.add("custom_domain", "must be valid as an internationalized domain name (RFC 5891) where it has a label that begins with xn--")
	}
}

// issuerName returns the form in which an issuer is unique, and its host. Below the
// public URL a tenant has the path of its slug, and no other.
func (n Namespace) issuerName(broken *fields, t Tenant) (name *string, host string) {
	w, ok := parseWebName(t.OwnIssuer)
	if !ok {
		broken.add("issuer", "must have a host name or an address as its host")
		return nil, ""
	}
	if !n.holds(w) {
		if w.scheme == "http" && !isThisMachine(w.host) && !n.plainHTTP {
			broken.add("issuer", "must be https: who is on the way of plain http could give verifiers other keys; the operator can allow it by KEYWARD_ALLOW_HTTP")
		}
		return new(w.String()), w.host
	}
	rest, below := strings.CutPrefix(w.path, n.publicURL.path)
	own := "/t/" + t.Slug
	switch {
	case !below || w.scheme != n.publicURL.scheme || w.port != n.publicURL.port:
	case rest == own || strings.HasPrefix(rest, own+"/"):
		return &rest, ""
	case rest == "" && t.Slug == PlatformSlug:
		return new("/"), ""
	}
	broken.add("issuer", "must not be at the host of this service's public URL, except at the tenant's own path %s", own)
	return nil, ""
}

// holds reports whether a name is at the host of the public URL. On this machine,
// other ports are other services.
func (n Namespace) holds(w webName) bool {
	return w.host == n.publicURL.host && (w.port == n.publicURL.port || !isThisMachine(w.host))
}

// isThisMachine reports whether the host of a URL, an IPv6 address in brackets, is this machine.
func isThisMachine(host string) bool { return loopback.IsHost(strings.Trim(host, "[]")) }

// webName is a URL in the form in which verifiers that normalize it would compare
// it (RFC 3986 section 6.2).
type webName struct{ scheme, host, port, path string }

// parseWebName parses an absolute URL: scheme and host in lower case, the default
// port written out, the path decoded, without dot segments and final slash. It is
// not ok if the host is neither an address nor a canonical host name.
func parseWebName(text string) (w webName, ok bool) {
	u, err := url.Parse(text)
	if err != nil {
		return webName{}, false
	}
	w = webName{scheme: u.Scheme, host: LowerDomain(strings.TrimSuffix(u.Hostname(), ".")), port: "443", path: path.Clean("/" + u.Path)}
	if w.scheme == "http" {
		w.port = "80"
	}
	if u.Port() != "" {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return webName{}, false
		}
		w.port = strconv.FormatUint(port, 10)
	}
	if w.path == "/" {
		w.path = ""
	}
	if addr, err := netip.ParseAddr(w.host); err == nil {
		w.host = addr.Unmap().String()
		if addr.Unmap().Is6() {
			w.host = "[" + w.host + "]"
		}
		return w, addr.Zone() == ""
	}
	return w, isCanonicalHost(w.host)
}

// String returns the name as a URL, without the default port.
func (w webName) String() string {
	host := w.host
	if w.port != "443" && w.scheme == "https" || w.port != "80" && w.scheme == "http" {
		host += ":" + w.port
	}
	return w.scheme + "://" + host + (&url.URL{Path: w.path}).EscapedPath()
}

// isCanonicalHost reports whether a client would look up a host name as it is written:
// IDNA (RFC 5891) has one spelling in ASCII for each name, and refuses others.
func isCanonicalHost(host string) bool {
	ascii, err := idna.Lookup.ToASCII(host)
	return err == nil && ascii == host && IsDomain(host)
}

// specialUse are the top-level names that public DNS never has (RFC 6761, RFC 6762,
// RFC 7686, RFC 8375, RFC 9476, and .internal by ICANN). A resolver may answer them
// on its own, so a tenant cannot prove to own one. The names for documentation and
// tests are missing: only a resolver that the operator has set up knows them.
var specialUse = []string{"localhost", "local", "internal", "invalid", "onion", "alt", "arpa"}

// isProvable reports whether a tenant may prove to own a host.
func (n Namespace) isProvable(host string) bool {
	var broken fields
	n.checkDomain(&broken, host)
	return host != "" && len(broken) == 0 && !slices.Contains(specialUse, host[strings.LastIndexByte(host, '.')+1:])
}

// changedFrom returns the hosts that n has and before had not.
func (n Names) changedFrom(before Names) (hosts []string) {
	if n.Domain != "" && n.Domain != before.Domain {
		hosts = append(hosts, n.Domain)
	}
	if n.IssuerHost != "" && (before.Issuer == nil || *n.Issuer != *before.Issuer) {
		hosts = append(hosts, n.IssuerHost)
	}
	return hosts
}

// Claim checks that the names of a tenant are free, as far as unique indexes do not,
// and returns its canonical names. before is the tenant without the change, or a
// zero Tenant. taken is a query as the platform, in the transaction that stores the
// tenant; it reports whether another live tenant has one of the hosts, or has its
// issuer at domain. Errors: *FieldErrors, ErrDomainTaken, those of taken.
func (n Namespace) Claim(before, after Tenant, taken func(hosts []string, domain string) (bool, error)) (Names, error) {
	names, err := n.Names(after)
	if err != nil {
		return Names{}, err
	}
	was, _ := n.Names(before) // of an earlier public URL perhaps
	if hosts := names.changedFrom(was); len(hosts) > 0 {
		switch is, err := taken(hosts, names.Domain); {
		case err != nil:
			return Names{}, err
		case is:
			return Names{}, ErrDomainTaken
		}
	}
	return names, nil
}
