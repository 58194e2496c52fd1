package main

import (
	"cmp"
	"context"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/httpapi"
	"github.com/keyward/keyward/internal/loopback"
	"github.com/keyward/keyward/keys/moves"
)

// checks parses settings and keeps the first error.
type checks struct{ err error }

// reject records that a setting is invalid. The flag's name follows from the
// variable's.
func (c *checks) reject(variable, accepts string) {
	if c.err == nil {
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, "KEYWARD_"), "_", "-"))
		c.err = badValue(variable+" (--"+flag+")", accepts)
	}
}

// database validates a URL with the driver; it does not connect.
func (c *checks) database(ctx context.Context, variable, value string) string {
	if value == "" {
		return ""
	}
	d, err := db.Open(ctx, db.Config{URL: value})
	if err != nil {
		c.reject(variable, "a PostgreSQL URL, as in postgres://user@host:5432/database")
		return ""
	}
	d.Close()
	return value
}

func (c *checks) number(variable, value string, least, most int) int {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		c.reject(variable, "a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
	return n
}

func (c *checks) fraction(variable, value string, most float64) float64 {
	f, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > most {
		c.reject(variable, "a number from 0 to "+strconv.FormatFloat(most, 'g', -1, 64))
	}
	return f
}

func (c *checks) duration(variable, value string, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil || d < least || d > most {
		c.reject(variable, "a duration from "+least.String()+" to "+most.String()+", as in 90s, 30m or 24h")
	}
	return d
}

// profiles requires an admin address for profiles.
func (c *checks) profiles(s settings) bool {
	if s.PProf && s.AdminAddr == "" {
		c.reject("KEYWARD_PPROF", "true only with KEYWARD_ADMIN_ADDR")
	}
	return s.PProf
}

// directory checks that a directory exists; an empty value is none.
func (c *checks) directory(variable, value string) string {
	if value == "" {
		return ""
	}
	if info, err := os.Stat(value); err != nil || !info.IsDir() {
		c.reject(variable, "a directory that exists")
	}
	return value
}

// openStore opens the store, of published documents or of checkpoints, that a URI names;
// an empty value is none.
func openStore[S any](c *checks, variable, value string, open func(uri string) (S, error)) (none S) {
	if value == "" {
		return none
	}
	store, err := open(value)
	if err != nil {
		c.reject(variable, "file:///directory that exists, or s3://bucket/prefix")
		return none
	}
	return store
}

// optionalDuration returns -1 for a variable that is not set, else a duration of 0 to most.
func (c *checks) optionalDuration(variable, value string, most time.Duration) time.Duration {
	if value == "" {
		return -1
	}
	return c.duration(variable, value, 0, most)
}

func (c *checks) oneOf(variable, value string, names ...string) string {
	for _, name := range names {
		if strings.EqualFold(value, name) {
			return name
		}
	}
	c.reject(variable, strings.Join(names[:len(names)-1], ", ")+" or "+names[len(names)-1])
	return ""
}

func (c *checks) level(variable, value string) (l slog.Level) {
	_ = l.UnmarshalText([]byte(c.oneOf(variable, value, "debug", "info", "warn", "error"))) // validated by oneOf, else c.err is set
	return l
}

func (c *checks) address(variable, value string) string {
	_, port, err := net.SplitHostPort(value)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n > math.MaxUint16 {
		c.reject(variable, "host:port, as in 127.0.0.1:8080 or :8080")
	}
	return value
}

func (c *checks) optionalAddress(variable, value string) string {
	if value == "" {
		return ""
	}
	return c.address(variable, value)
}

// origins parses origins serialized as browsers do (RFC 6454 section 6.1),
// since they are compared byte by byte. It rejects "*", because the admin API
// is not for every page.
func (c *checks) origins(variable, value string) (origins []string) {
	if value == "" {
		return nil
	}
	for _, origin := range strings.Split(value, ",") {
		origin = strings.TrimSpace(origin)
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || origin != strings.ToLower(u.Scheme+"://"+u.Host) ||
			u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
			c.reject(variable, "origins in lower case, separated by commas, without path and default port, as in https://console.example.com")
		}
		origins = append(origins, origin)
	}
	return origins
}

func (c *checks) publicURL(variable, value string) string {
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		strings.ContainsAny(value, "?# ") || strings.HasSuffix(value, "/") || strings.IndexFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		c.reject(variable, "an absolute http or https URL in ASCII without query, fragment and final slash, as in https://keys.example.com"+asciiHint(u))
	}
	return value
}

// verifierURL checks the public URL. Who can change answers on the way can replace the
// keys of a set that is fetched by plain http.
func (c *checks) verifierURL(s settings) string {
	value := c.publicURL("KEYWARD_PUBLIC_URL", s.PublicURL)
	if u, err := url.Parse(value); err == nil && u.Scheme == "http" && !loopback.IsHost(u.Hostname()) && !s.AllowHTTP {
		c.reject("KEYWARD_PUBLIC_URL", "an https URL, or http for this machine alone (localhost, 127.0.0.1); KEYWARD_ALLOW_HTTP=true allows http")
	}
	return value
}

// asciiHint returns the spelling in ASCII of a host that has other letters (RFC 5891).
// Verifiers compare issuers byte by byte, and clients look up the host in ASCII: of two
// spellings one would fail.
func asciiHint(u *url.URL) string {
	if u == nil {
		return ""
	}
	ascii, err := idna.Lookup.ToASCII(u.Hostname())
	if err != nil || ascii == u.Hostname() {
		return ""
	}
	return "; in ASCII this host is " + ascii
}

// networks parses comma-separated address ranges. It rejects host bits, so that
// a typing error does not allow a larger range.
func (c *checks) networks(variable, value string) (list []netip.Prefix) {
	for text := range strings.SplitSeq(value, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			c.reject(variable, "networks with commas between, as in 10.1.0.0/16,fd00::/8")
			return nil
		}
		list = append(list, p)
	}
	return list
}

// pair requires both files or neither.
func (c *checks) pair(certVariable, cert, keyVariable, key string) {
	if cert != "" && key == "" {
		c.reject(keyVariable, "the file with the private key of "+certVariable)
	}
	if cert == "" && key != "" {
		c.reject(certVariable, "the file with the certificate of "+keyVariable)
	}
}

// transport rejects settings of the admin address without that address, and
// client certificates without TLS.
func (c *checks) transport(s settings) {
	c.pair("KEYWARD_TLS_CERT", s.TLSCert, "KEYWARD_TLS_KEY", s.TLSKey)
	c.pair("KEYWARD_ADMIN_TLS_CERT", s.AdminTLSCert, "KEYWARD_ADMIN_TLS_KEY", s.AdminTLSKey)
	if s.AdminTLSCert != "" && s.AdminAddr == "" {
		c.reject("KEYWARD_ADMIN_TLS_CERT", "a file only where KEYWARD_ADMIN_ADDR is set too")
	}
	if s.AdminClientCA != "" && (s.AdminAddr == "" || s.TLSCert == "" && s.AdminTLSCert == "") {
		c.reject("KEYWARD_ADMIN_CLIENT_CA", "a file only where KEYWARD_ADMIN_ADDR, and KEYWARD_ADMIN_TLS_CERT or KEYWARD_TLS_CERT, are set too")
	}
}

func (c *checks) proxies(variable, value string) []netip.Prefix {
	networks, err := httpapi.ParseProxies(value)
	if err != nil {
		c.reject(variable, "addresses and networks with commas between, as in 10.0.0.0/8,2001:db8::1, and not the whole address space")
	}
	return networks
}

func (c *checks) rate(variable, value string) httpapi.Rate {
	rate, err := httpapi.ParseRate(value)
	if err != nil {
		c.reject(variable, "a number per s, m or h, as in 100/s or 6000/m, and how many at once, as in 100/s:200; each from 1 to 1000000")
	}
	return rate
}

// generator returns the shares of tenants in the generation of RSA keys.
func (c *checks) generator(s settings) moves.GeneratorConfig {
	rate := c.rate("KEYWARD_TENANT_RSA_RATE", s.TenantRSARate)
	return moves.GeneratorConfig{
		Parallel: c.number("KEYWARD_RSA_PARALLEL", cmp.Or(s.RSAParallel, "0"), 0, 1000), Every: rate.Every, Burst: rate.Burst,
	}
}
