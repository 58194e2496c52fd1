package jwks

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A copied is a copy of a set with what is known about its age. Durations count
// from fetched.
type copied struct {
	*set
	url            string      // that was asked for
	finalURL       string      // that answered, after redirects; the validators are valid for it alone
	etag, modified string      // validators
	kept           http.Header // fields that a 304 answer may leave out
	notBefore      time.Time
	fetched        instant
	refresh        time.Duration // from here on it is fetched again in the background
	expires        time.Duration // from here on it is not used
	stale          time.Duration // until here it is used all the same if there is no other
}

const (
	// uncacheable is the age given to a set whose issuer forbids caching, or says
	// about it what cannot be understood: a fetch per token would help nobody.
	uncacheable = 30 * time.Second
	// maxUnaskedStale bounds the use of a set beyond its age if the issuer allows
	// it (RFC 5861 section 4) and the configuration says nothing.
	maxUnaskedStale = time.Hour
	// refreshAt is the part of its age after which a set is fetched again.
	refreshAt = 0.8
)

// keptFields are those that a copy keeps for 304 answers that leave them out.
var keptFields = []string{"ETag", "Last-Modified", "Cache-Control", "Expires", "Pragma", epochHeader}

// freshnessFields are kept together: an answer with one of them replaces all.
var freshnessFields = []string{"Cache-Control", "Expires", "Pragma"}

// newCopy dates a set that came with header at now.
func newCopy(s *set, header http.Header, now instant, c *Config) *copied {
	control := parseCacheControl(header)
	age := control.freshness(header, now.time(), c.MinAge, c.MaxAge)
	kept := http.Header{}
	for _, name := range keptFields {
		if values := header.Values(name); len(values) > 0 {
			kept[http.CanonicalHeaderKey(name)] = values
		}
	}
	return &copied{
		set:       s,
		etag:      header.Get("ETag"),
		modified:  header.Get("Last-Modified"),
		kept:      kept,
		notBefore: parseEpoch(header.Get(epochHeader)),
		fetched:   now,
		refresh:   time.Duration(refreshAt * float64(age)),
		expires:   age,
		stale:     addDurations(age, control.staleTime(c.StaleIfError)),
	}
}

// limitToSignature ends the use of a signed set, stale or not, with its exp, and takes
// not_before from it: fields of the answer are nobody's statement.
func (c *copied) limitToSignature() {
	if c.signed == nil {
		return
	}
	left := max(c.signed.expires.Sub(c.fetched.time()), 0)
	c.refresh, c.expires, c.stale = min(c.refresh, time.Duration(refreshAt*float64(left))), min(c.expires, left), min(c.stale, left)
	c.notBefore = c.signed.notBefore
}

// revalidated returns the header of a 304 answer, completed with the fields of
// the prior answer that it leaves out (RFC 9111 section 4.3.4).
func (c *copied) revalidated(header http.Header) http.Header {
	full := header.Clone()
	fresh := false
	for _, name := range freshnessFields {
		fresh = fresh || len(header.Values(name)) > 0
	}
	for name, values := range c.kept {
		isFreshness := false
		for _, other := range freshnessFields {
			isFreshness = isFreshness || name == other
		}
		if len(full.Values(name)) == 0 && !(isFreshness && fresh) {
			full[name] = values
		}
	}
	return full
}

// cacheControl holds the directives of RFC 9111 section 5.2.2 and RFC 5861 that
// matter to a private cache. Seconds are notGiven or invalid where they are not
// numbers.
type cacheControl struct {
	forbidden bool // no-store, no-cache
	maxAge    int64
	ifError   int64
}

const (
	notGiven = -1 - iota // a directive that is absent
	invalid              // one that is there, but is no number or is given twice
)

func parseCacheControl(header http.Header) cacheControl {
	c := cacheControl{maxAge: notGiven, ifError: notGiven}
	fields := header.Values("Cache-Control")
	for _, directive := range splitList(strings.Join(fields, ",")) {
		name, value, _ := strings.Cut(directive, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "no-store", "no-cache":
			c.forbidden = true
		case "max-age":
			c.maxAge = addSeconds(c.maxAge, value)
		case "stale-if-error":
			c.ifError = addSeconds(c.ifError, value)
		default:
			c.readMangled(directive)
		}
	}
	for _, value := range header.Values("Pragma") { // of a server that knows HTTP/1.0 only (RFC 9111 section 5.4)
		c.forbidden = c.forbidden || len(fields) == 0 && strings.Contains(strings.ToLower(value), "no-cache")
	}
	return c
}

// readMangled reads what is no directive (RFC 9111 section 5.2), such as
// "public; max-age=60": which freshness it means is not known, but that it means some.
func (c *cacheControl) readMangled(directive string) {
	if wholeDirective.MatchString(directive) {
		return
	}
	said := strings.ToLower(directive)
	c.forbidden = c.forbidden || strings.Contains(said, "no-store") || strings.Contains(said, "no-cache")
	if strings.Contains(said, "max-age") {
		c.maxAge = invalid
	}
}

// wholeDirective matches a token, with or without a value that is a token or a quoted
// string.
var wholeDirective = regexp.MustCompile("^[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*(=[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]*|\"(\\\\.|[^\"\\\\])*\")[ \t]*)?$")

// splitList splits a list at its commas, except those in quoted strings (RFC 9110
// section 5.6.1).
func splitList(list string) []string {
	quoted, escaped := false, false
	return strings.FieldsFunc(list, func(r rune) bool {
		if escaped {
			escaped = false
			return false
		}
		escaped = quoted && r == '\\'
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	})
}

// addSeconds reads a directive's value. One that is given a second time is
// invalid (RFC 9111 section 4.2.1), whatever it says.
func addSeconds(before int64, value string) int64 {
	if before != notGiven {
		return invalid
	}
	return parseSeconds(value)
}

// parseSeconds reads delta-seconds (RFC 9111 section 1.2.2), with or without
// quotes: digits of any number.
func parseSeconds(s string) int64 {
	const most = 1 << 31
	s = strings.TrimSpace(s)
	if len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return invalid
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil { // only for being too large
		return most
	}
	return min(n, most)
}

// freshness returns how long the set may be used: the issuer's max-age or Expires,
// less the time the answer lay in caches on the way, within [least, most]. An
// answer that says nothing about it gets most; one that says what is no valid
// freshness, or that is stale already, is uncacheable.
func (c cacheControl) freshness(header http.Header, now time.Time, least, most time.Duration) time.Duration {
	lifetime := time.Duration(0)
	switch expires := header.Values("Expires"); {
	case c.forbidden:
	case c.maxAge != notGiven:
		lifetime = time.Duration(max(c.maxAge, 0)) * time.Second
	case len(expires) == 1:
		lifetime = parseExpires(expires[0], header.Get("Date"), now)
	case len(expires) == 0:
		return most
	}
	first, _, _ := strings.Cut(header.Get("Age"), ",")
	if lifetime -= time.Duration(max(parseSeconds(first), 0)) * time.Second; lifetime <= 0 { // a cache on the way has kept it for too long
		return min(max(uncacheable, least), most)
	}
	return min(max(lifetime, least), most)
}

// parseExpires returns the time from date, or else from now, until expires; 0 if
// that is past or no date, such as "0" (RFC 9111 section 5.3).
func parseExpires(expires, date string, now time.Time) time.Duration {
	at, err := http.ParseTime(expires)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(date); err == nil {
		now = sent
	}
	return max(at.Sub(now), 0)
}

// staleTime returns how long the set may be used beyond its age: as configured,
// but no longer than an issuer allows that says so. Without a configuration it is
// what the issuer allows, an hour at most.
func (c cacheControl) staleTime(configured time.Duration) time.Duration {
	given := c.ifError != notGiven
	allowed := time.Duration(max(c.ifError, 0)) * time.Second
	switch {
	case configured < 0, configured == 0 && !given:
		return 0
	case configured == 0:
		return min(allowed, maxUnaskedStale)
	case !given:
		return configured
	}
	return min(allowed, configured)
}
