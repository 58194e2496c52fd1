package jwks

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A Fetch gets a document: a JSON Web Key Set as JSON. It stops when ctx is
// done.
type Fetch func(ctx context.Context, url string) ([]byte, error)

// Config says where a [Client] gets its keys, and how. The comments say what the
// zero value of a field means; only one of URL, Issuer and Local is needed.
type Config struct {
	// URL of the JSON Web Key Set.
	URL string
	// Issuer whose metadata names the URL, if that is empty: OpenID Connect
	// Discovery 1.0 section 4, or else RFC 8414 section 3.
	Issuer string
	// Local returns a key set that is tried before the one of the URL; see
	// [File], [Env] and [Static]. It may return nil. Its set is kept for MaxAge.
	Local func(ctx context.Context) ([]byte, error)
	// Fetch replaces HTTP for the set, not for discovery. Limits and caching
	// stay. See [ResponseHeader] for the fields of the answer.
	Fetch Fetch

	// Pin demands sets that are signed by a key that was pinned once; nil takes the
	// sets of the URL and of Local as they come. With it URL names a signed set, and
	// so does the metadata of Issuer, as signed_jwks_uri.
	Pin *Pin

	// HTTPClient has the settings for TLS, client certificates and proxies; nil is
	// [http.DefaultClient]. Redirects are limited whatever it allows.
	HTTPClient *http.Client
	// Header is added to each request to the hosts of URL and Issuer, such as an
	// API key. Other hosts, to which metadata or a redirect leads, get User-Agent,
	// Accept and Accept-Language of it and no more.
	Header http.Header
	// Timeout of a fetch, with discovery; 0 is 30 seconds.
	Timeout time.Duration
	// AllowHTTP allows http URLs: for tests, and networks that encrypt.
	AllowHTTP bool
	// RedirectHosts are hosts that redirects may lead to, besides that of the
	// URL itself. At most three redirects are followed.
	RedirectHosts []string
	// MaxBody is how large a set may be, in bytes, decompressed; 0 is 1 MiB.
	MaxBody int64
	// MaxKeys is how many keys a set may have; 0 is 200.
	MaxKeys int

	// NoCache fetches the set for each key. Callers that wait at the same time still
	// share a fetch.
	NoCache bool
	// MaxEntries is how many keys are kept ready to use, those used least
	// recently are made anew from the set when needed; 0 is 5.
	MaxEntries int
	// MaxAge is the longest a set is used before it is fetched again; 0 is 10
	// minutes. An issuer's Cache-Control or Expires can make it shorter.
	MaxAge time.Duration
	// MinAge is the shortest; 0 is a second. Sets whose issuer forbids caching, or
	// says about it what is not valid, get 30 seconds, within these bounds.
	MinAge time.Duration
	// StaleIfError is how long a set is used beyond its age if it cannot be
	// fetched: 0 as long as the issuer's stale-if-error says, at most an hour;
	// less than 0 not at all. A shorter stale-if-error of the issuer wins. While
	// such a set may be used, callers wait at most half a second for a fetch.
	StaleIfError time.Duration
	// OnStale is called each time a set is used beyond its age.
	OnStale func(Stale)
	// OnSkip is called for each key in a fetched set that is not used.
	OnSkip func(kid string, reason error)

	// RateLimit allows only RequestsPerMinute fetches, for whatever reason.
	RateLimit bool
	// RequestsPerMinute is for RateLimit; 0 is 10.
	RequestsPerMinute int
	// UnknownKidsPerMinute bounds the fetches for kids that the set does not have,
	// and for signatures that its keys do not verify, with or without RateLimit; 0
	// is 6, less than 0 none. Callers wait at most half a second for a fetch about a
	// signature, and for one about a kid if the fetch before failed.
	UnknownKidsPerMinute int
	// Cooldown is how long after such a fetch there is no other; 0 is 5 seconds.
	Cooldown time.Duration

	// Logger gets the steps of the client at debug level and failures as warnings;
	// nil is none. It never gets a token.
	Logger *slog.Logger
	// Now is the wall clock; nil is [time.Now]. It may step: ages and waits are
	// also measured by the process's monotonic clock, and the longer counts.
	Now func() time.Time
}

// Stale describes the use of a key set beyond its age.
type Stale struct {
	Err     error     // why there is no newer set
	Fetched time.Time // when it was fetched
	Until   time.Time // when its use ends
}

// withDefaults returns the configuration with the defaults filled in, or an error
// that wraps [ErrArgument].
func (c Config) withDefaults() (Config, error) {
	if c.HTTPClient == nil {
		c.HTTPClient = http.DefaultClient
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnSkip == nil {
		c.OnSkip = func(string, error) {}
	}
	c.Header = c.Header.Clone()
	c.RedirectHosts = slices.Clone(c.RedirectHosts)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.MaxBody = cmp.Or(c.MaxBody, 1<<20)
	c.MaxKeys = cmp.Or(c.MaxKeys, 200)
	c.MaxEntries = cmp.Or(c.MaxEntries, 5)
	c.MaxAge = cmp.Or(c.MaxAge, 10*time.Minute)
	c.MinAge = min(cmp.Or(c.MinAge, time.Second), c.MaxAge)
	c.RequestsPerMinute = cmp.Or(c.RequestsPerMinute, 10)
	c.UnknownKidsPerMinute = cmp.Or(c.UnknownKidsPerMinute, 6)
	c.Cooldown = cmp.Or(c.Cooldown, 5*time.Second)
	return c, c.check()
}

func (c *Config) check() error {
	if c.URL == "" && c.Issuer == "" && c.Local == nil {
		return argumentError("one of URL, Issuer and Local is needed")
	}
	for name, address := range map[string]string{"URL": c.URL, "Issuer": c.Issuer} {
		if address == "" || name == "URL" && c.Fetch != nil {
			continue
		}
		if err := c.checkURL(address); err != nil {
			return argumentError("%s: %w", name, err)
		}
	}
	for name, n := range map[string]int64{
		"Timeout": int64(c.Timeout), "MaxBody": c.MaxBody, "MaxKeys": int64(c.MaxKeys), "MaxEntries": int64(c.MaxEntries),
		"MaxAge": int64(c.MaxAge), "MinAge": int64(c.MinAge), "RequestsPerMinute": int64(c.RequestsPerMinute), "Cooldown": int64(c.Cooldown),
	} {
		if n < 0 {
			return argumentError("%s is negative", name)
		}
	}
	return nil
}

// checkURL returns why no request may be sent to an address, or nil.
func (c *Config) checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errAddress
	case u.Host == "" || u.Fragment != "":
		return errAddress
	case u.Scheme == "https", u.Scheme == "http" && c.AllowHTTP:
		return nil
	}
	return errScheme
}
