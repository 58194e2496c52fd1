package jwks

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A copy is a set with what is known about its age. Times are nanoseconds of
// the client's clock, so that looking costs one comparison.
type copied struct {
	*set
	etag, modified string // what revalidates it
	control        string // the issuer's Cache-Control
	epoch          string // its not_before as it came
	notBefore      time.Time
	fetched        time.Time
	refresh        int64 // from here on it is fetched again in the background
	expires        int64 // from here on it is not used
	stale          int64 // until here it is used all the same if no other can be had
}

const (
	// uncacheable is the age given to sets whose issuer forbids caching: to
	// fetch one per token would help nobody.
	uncacheable = 30 * time.Second
	// unasked is how long a set may be used beyond its age if the issuer allows
	// it (RFC 5861 section 4) and the configuration says nothing.
	unasked = time.Hour
	// ahead is the part of its age after which a set is fetched again.
	ahead = 0.8
)

// newCopy puts times on a set that came with that header at now.
func newCopy(s *set, header http.Header, now time.Time, c *Config) *copied {
	control := parseCacheControl(header)
	age := control.freshness(header, c.MinAge, c.MaxAge)
	expires := now.Add(age)
	return &copied{
		set:       s,
		etag:      header.Get("ETag"),
		modified:  header.Get("Last-Modified"),
		control:   strings.Join(header.Values("Cache-Control"), ", "),
		epoch:     header.Get(epochHeader),
		notBefore: parseEpoch(header.Get(epochHeader)),
		fetched:   now,
		refresh:   now.Add(time.Duration(ahead * float64(age))).UnixNano(),
		expires:   expires.UnixNano(),
		stale:     expires.Add(control.grace(c.StaleIfError)).UnixNano(),
	}
}

// cacheControl are the directives of RFC 9111 section 5.2.2 and RFC 5861 that
// matter to a private cache. Seconds are -1 where not given.
type cacheControl struct {
	forbidden bool // no-store, no-cache
	maxAge    int64
	ifError   int64
}

func parseCacheControl(header http.Header) cacheControl {
	c := cacheControl{maxAge: -1, ifError: -1}
	for part := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			c.forbidden = true
		case "max-age":
			c.maxAge = seconds(value)
		case "stale-if-error":
			c.ifError = seconds(value)
		}
	}
	return c
}

// seconds reads delta-seconds (RFC 9111 section 1.2.2); -1 if they are none.
func seconds(s string) int64 {
	const most = 1 << 31
	n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(s), `"`), 10, 63)
	if err != nil {
		return -1
	}
	return int64(min(n, most))
}

// freshness is how long the set may be used: what the issuer says, less the
// time it lay in caches on the way, within the configured bounds.
func (c cacheControl) freshness(header http.Header, least, most time.Duration) time.Duration {
	if c.forbidden || c.maxAge == 0 {
		return min(max(uncacheable, least), most)
	}
	if c.maxAge < 0 {
		return most
	}
	age := time.Duration(c.maxAge-max(seconds(header.Get("Age")), 0)) * time.Second
	return min(max(age, least), most)
}

// grace is how long the set may be used beyond its age: as configured, but no
// longer than an issuer allows that says so. Asked for nothing, it is what the
// issuer allows, for an hour at most.
func (c cacheControl) grace(configured time.Duration) time.Duration {
	allowed := time.Duration(c.ifError) * time.Second
	switch {
	case configured < 0, configured == 0 && c.ifError < 0:
		return 0
	case configured == 0:
		return min(allowed, unasked)
	case c.ifError < 0:
		return configured
	}
	return min(allowed, configured)
}
