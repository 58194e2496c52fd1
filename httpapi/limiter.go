package httpapi

import (
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the memory of a limiter.
const maxBuckets = 10_000

// limiter is a token bucket for each key: burst at once, then one every so
// often.
type limiter struct {
	burst int
	every time.Duration

	mu    sync.Mutex
	empty map[string]time.Time // when the bucket will be full again
}

func newLimiter(burst int, every time.Duration) *limiter {
	return &limiter{burst: burst, every: every, empty: map[string]time.Time{}}
}

// take takes a token, or says how long to wait for one.
func (l *limiter) take(key string, now time.Time) (wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	full, known := l.empty[key]
	if !known || full.Before(now) {
		full = now
	}
	full = full.Add(l.every)
	if wait := full.Sub(now) - time.Duration(l.burst)*l.every; wait > 0 {
		return wait
	}
	if !known {
		l.makeRoom()
	}
	l.empty[key] = full
	return 0
}

// makeRoom forgets somebody, whom the order of the map chooses: to be
// forgotten is to be forgiven, which is the cheaper mistake.
func (l *limiter) makeRoom() {
	for key := range l.empty {
		if len(l.empty) < maxBuckets {
			return
		}
		delete(l.empty, key)
	}
}

// clientAddress is the other end of the connection. What a proxy says of the
// client before it is not believed: anybody can say it.
func clientAddress(r *http.Request) string {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return addr.Addr().Unmap().String()
}

// network is what one client holds: an IPv4 address or an IPv6 /64.
func network(r *http.Request) string {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip := addr.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, _ := ip.Prefix(64)
	return prefix.String()
}
