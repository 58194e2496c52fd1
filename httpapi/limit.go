package httpapi

import (
	"errors"
	"hash/maphash"
	"math"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyward/keyward/internal/age"
)

// The memory of a limiter is bounded: it keeps the 32,768 most recently used keys,
// and at most twice as many.
const (
	limiterShards   = 64
	bucketsPerShard = 512
)

// limiter holds a token bucket for each key: Burst tokens, and a new one after
// each Every. Keys in different shards do not contend for a lock.
type limiter[K comparable] struct {
	rate   Rate
	seed   maphash.Seed // random, so that clients cannot choose keys of one shard
	shards [limiterShards]shard[K]
}

// debt is what is missing in a bucket: after this time from an instant it is full again.
// It is paid by whichever clock goes faster, so that a wall clock that is set back limits
// nobody for longer.
type debt struct {
	of time.Duration
	at age.Instant
}

// left returns the missing part.
func (d debt) left(now age.Instant) time.Duration { return max(d.of-d.at.Elapsed(now), 0) }

// shard holds, for each key, the debt of its bucket. Keys
// used since the last generation began are in recent. A dropped key starts with
// a full bucket, so a key is dropped only after 512 others were used since its
// last use: a client that keeps sending refused requests stays limited, however
// many others come.
type shard[K comparable] struct {
	mu          sync.Mutex
	recent, old map[K]debt
}

func newLimiter[K comparable](rate Rate) *limiter[K] {
	l := &limiter[K]{rate: rate, seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].recent = map[K]debt{}
	}
	return l
}

// take takes a token, or returns how long to wait for the next one.
func (l *limiter[K]) take(key K, now age.Instant) (wait time.Duration) {
	s := &l.shards[maphash.Comparable(l.seed, key)%limiterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.debt(key).left(now)
	next := left + l.rate.Every
	if wait = next - time.Duration(l.rate.Burst)*l.rate.Every; wait > 0 {
		next = left
	}
	s.note(key, debt{next, now})
	return max(wait, 0)
}

// wait returns how long to wait for the next token, and takes none.
func (l *limiter[K]) wait(key K, now age.Instant) time.Duration {
	s := &l.shards[maphash.Comparable(l.seed, key)%limiterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.debt(key).left(now)+l.rate.Every-time.Duration(l.rate.Burst)*l.rate.Every, 0)
}

func (s *shard[K]) debt(key K) debt {
	if d, known := s.recent[key]; known {
		return d
	}
	return s.old[key]
}

func (s *shard[K]) note(key K, d debt) {
	if _, known := s.recent[key]; !known && len(s.recent) >= bucketsPerShard {
		s.old, s.recent = s.recent, make(map[K]debt, bucketsPerShard)
	}
	s.recent[key] = d
}

// Rate is a rate limit; its zero value means no limit.
type Rate struct {
	Burst int           // at once
	Every time.Duration // one more
}

// RateLimits are disabled where they are zero. Failed authentications are
// always limited.
type RateLimits struct {
	Address    Rate // of requests by one client network, except health checks
	Credential Rate // of requests with one credential
}

// maxRate is how many there may be in a period, or at once.
const maxRate = 1_000_000

var (
	ratePattern = regexp.MustCompile(`^([0-9]{1,7})/([smh])(?::([0-9]{1,7}))?$`)
	ratePeriods = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

	errBadRate = errors.New("not a rate, as in 100/s, 6000/m or 100/s:200")
)

// ParseRate parses a number per s, m or h and, after a colon, the burst; the
// default burst is the number itself. The empty text means no limit.
func ParseRate(text string) (Rate, error) {
	if text == "" {
		return Rate{}, nil
	}
	m := ratePattern.FindStringSubmatch(text)
	if m == nil {
		return Rate{}, errBadRate
	}
	n, _ := strconv.Atoi(m[1]) // digits, and few of them
	burst := n
	if m[3] != "" {
		burst, _ = strconv.Atoi(m[3])
	}
	if min(n, burst) < 1 || max(n, burst) > maxRate {
		return Rate{}, errBadRate
	}
	return Rate{Burst: burst, Every: time.Duration(math.Ceil(float64(ratePeriods[m[2]]) / float64(n)))}, nil
}

// limitCounters count refused requests by the limit that refused them.
type limitCounters struct{ address, credential, failures prometheus.Counter }

func newLimitCounters(cfg *Config) (*limitCounters, error) {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keyward_http_limited_requests_total", Help: "Requests refused with 429, by the limit that refused them.",
	}, []string{"limit"})
	l := &limitCounters{vec.WithLabelValues("address"), vec.WithLabelValues("credential"), vec.WithLabelValues("failures")}
	if cfg.Metrics == nil {
		return l, nil
	}
	return l, cfg.Metrics.Register(vec)
}

// limitByAddress puts the limit by address in front of a handler. It returns
// next itself if the limit is disabled, or for a health check: those are always
// answered, or load balancers would remove a process that is merely busy.
func (s *server) limitByAddress(operation string, next echo.HandlerFunc) echo.HandlerFunc {
	if s.cfg.RateLimits.Address == (Rate{}) || operation == "healthz" || operation == "readyz" || operation == "readyzPublic" {
		return next
	}
	return func(c echo.Context) error {
		if wait := s.byAddress.take(s.clients.clientNetwork(c.Request()), age.Read(s.cfg.Now)); wait > 0 {
			if !isAdmin(c.Path()) {
				setPublicHeaders(c.Response().Header())
			}
			s.limitedBy.address.Inc()
			return &rateLimitedError{wait}
		}
		return next(c)
	}
}
