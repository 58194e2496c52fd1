package httpapi

import (
	"hash/maphash"
	"sync"
	"time"
)

// A limiter's memory is bounded: it remembers at least 32,768 keys that were
// used last, and at most twice as many.
const (
	limiterShards   = 64
	bucketsPerShard = 512
)

// limiter is a token bucket for each key: burst at once, then one every so
// often. Keys that meet in no shard do not wait for each other.
type limiter[K comparable] struct {
	rate   Rate
	seed   maphash.Seed // nobody chooses keys that meet in one shard
	shards [limiterShards]shard[K]
}

// shard holds, for each key, when its bucket will be full again. What was used
// since the last generation began is in recent. To be forgotten is to be
// forgiven, so a key is forgotten only when 512 others were used since: who is
// being refused and goes on asking is remembered, however many others come.
type shard[K comparable] struct {
	mu          sync.Mutex
	recent, old map[K]time.Time
}

func newLimiter[K comparable](rate Rate) *limiter[K] {
	l := &limiter[K]{rate: rate, seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].recent = map[K]time.Time{}
	}
	return l
}

// take takes a token, or says how long to wait for one.
func (l *limiter[K]) take(key K, now time.Time) (wait time.Duration) {
	s := &l.shards[maphash.Comparable(l.seed, key)%limiterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	full := s.full(key)
	if full.Before(now) {
		full = now
	}
	next := full.Add(l.rate.Every)
	if wait = next.Sub(now) - time.Duration(l.rate.Burst)*l.rate.Every; wait > 0 {
		next = full
	}
	s.note(key, next)
	return max(wait, 0)
}

func (s *shard[K]) full(key K) time.Time {
	if full, known := s.recent[key]; known {
		return full
	}
	return s.old[key]
}

func (s *shard[K]) note(key K, full time.Time) {
	if _, known := s.recent[key]; !known && len(s.recent) >= bucketsPerShard {
		s.old, s.recent = s.recent, make(map[K]time.Time, bucketsPerShard)
	}
	s.recent[key] = full
}
