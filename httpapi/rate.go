package httpapi

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
)

// Rate is how often something may happen; its zero value is no limit.
type Rate struct {
	Burst int           // at once
	Every time.Duration // then one
}

// RateLimits are off where they are zero. Failed authentications are limited
// whatever they say.
type RateLimits struct {
	Address    Rate // of requests by one client address, but those for health
	Credential Rate // of requests with one credential
}

// maxRate is how many there may be in a period, or at once.
const maxRate = 1_000_000

var (
	ratePattern = regexp.MustCompile(`^([0-9]{1,7})/([smh])(?::([0-9]{1,7}))?$`)
	ratePeriods = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}

	errBadRate = errors.New("not a rate, as in 100/s, 6000/m or 100/s:200")
)

// ParseRate reads a number per s, m or h and, behind a colon, how many may come
// at once; without that, as many as in a period. The empty text is no limit.
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

// limitedBy counts the requests that were refused, by which limit it was.
type limitedBy struct{ address, credential, failures prometheus.Counter }

func newLimitedBy(cfg Config) (*limitedBy, error) {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keyward_http_limited_requests_total", Help: "Requests refused with 429, by the limit that refused them.",
	}, []string{"limit"})
	l := &limitedBy{vec.WithLabelValues("address"), vec.WithLabelValues("credential"), vec.WithLabelValues("failures")}
	if cfg.Metrics == nil {
		return l, nil
	}
	return l, cfg.Metrics.Register(vec)
}

// limited puts the limit by address before a handler: none where it is off, so
// that it costs nothing then. Who asks about health is always answered, or a
// flood would end what it could not drown.
func (s *server) limited(operation string, next echo.HandlerFunc) echo.HandlerFunc {
	if s.cfg.RateLimits.Address == (Rate{}) || operation == "healthz" || operation == "readyz" {
		return next
	}
	return func(c echo.Context) error {
		if wait := s.byAddress.take(s.proxies.network(c.Request()), s.cfg.Now()); wait > 0 {
			if !isAdmin(c.Path()) {
				public(c.Response().Header())
			}
			s.limitedBy.address.Inc()
			return &rateLimitedError{wait}
		}
		return next(c)
	}
}
