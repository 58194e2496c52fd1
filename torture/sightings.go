package main

import (
	"sync"
	"time"
)

// deafness is for how long a replica that hears nothing may go on: documented
// in docs/operations.md, and part of every horizon.
const deafness = 10 * time.Second

// use is what was seen of one key: the extremes are enough, however long the
// campaign runs.
type use struct {
	lastSigned token     // the one that was asked for last
	longest    token     // the one that lives longest
	lastServed time.Time // when a set with the key was asked for last, one that was not marked as stale
	servedBy   int
}

// doubt is something that only the history can decide.
type doubt struct {
	at      time.Time
	promise string
	check   func(*history) string
}

// sightings is what readers saw, until the history tells whether it was right.
type sightings struct {
	mu     sync.Mutex
	uses   map[string]*use // by tenant id and kid
	doubts []doubt
	bodies map[string][32]byte // of key sets, by tenant id and ETag
	told   map[string]bool
}

func newSightings() *sightings {
	return &sightings{uses: map[string]*use{}, bodies: map[string][32]byte{}, told: map[string]bool{}}
}

func (s *sightings) doubt(d doubt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts = append(s.doubts, d)
}

func (s *sightings) use(tenant, kid string) *use {
	u := s.uses[tenant+"/"+kid]
	if u == nil {
		u = &use{}
		s.uses[tenant+"/"+kid] = u
	}
	return u
}

// confirm holds everything that was seen against the history.
func (s *sightings) confirm(h *history, r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open []doubt
	for _, d := range s.doubts {
		if d.at.After(h.read) {
			open = append(open, d)
			continue
		}
		r.check(d.promise, 1)
		if wrong := d.check(h); wrong != "" {
			r.brokeDuring(d.promise, d.at, d.at, "%s", wrong)
		}
	}
	s.doubts = open
	for name, u := range s.uses {
		if k := h.keys[name]; k != nil {
			s.confirmUse(h, r, name, k, u)
		}
	}
}

// once reports something about a key one time.
func (s *sightings) once(r *record, promise, name string, at time.Time, format string, args ...any) {
	if !s.told[promise+name] {
		s.told[promise+name] = true
		r.brokeDuring(promise, at, at, format, args...)
	}
}

const (
	signedAfter = "a key signed at another replica after the change that ended its signing was committed, at most"
	servedAfter = "a key was served unmarked after the change that removed it was committed, at most"
)

func (s *sightings) confirmUse(h *history, r *record, name string, k *keyRow, u *use) {
	r.check(noOldSigner, 1)
	r.check(noOldSets, 1)
	r.check(tokensOutlived, 1)
	if late := u.lastSigned.from.began.Sub(k.activeTo); !k.activeTo.IsZero() && late > 0 && u.lastSigned.kid != "" {
		r.measure(signedAfter, u.lastSigned.from.began, late)
		if late > deafness+time.Second {
			s.once(r, noOldSigner, name, u.lastSigned.from.began, "replica-%d signed a token of %s with %s, asked at %s, %.1f s after the commit that ended its signing (%s now)",
				u.lastSigned.from.replica, u.lastSigned.tenant.slug, k.kid, r.at(u.lastSigned.from.began), late.Seconds(), k.state)
		}
	}
	if late := u.lastServed.Sub(k.publishedTo); !k.publishedTo.IsZero() && late > 0 && !u.lastServed.IsZero() {
		r.measure(servedAfter, u.lastServed, late)
		if late > deafness+time.Second {
			s.once(r, noOldSets, name, u.lastServed, "replica-%d served the key %s, asked at %s, unmarked, %.1f s after the commit that removed it (%s now)",
				u.servedBy, k.kid, r.at(u.lastServed), late.Seconds(), k.state)
		}
	}
	if k.deprecated == nil || k.revoked != nil || u.longest.kid == "" {
		return
	}
	needed := u.longest.ends.Add(h.skews[k.tenant])
	if k.horizon != nil && needed.After(*k.horizon) {
		s.once(r, tokensOutlived, name+"horizon", u.longest.from.began, "a token of %s by %s, asked of replica-%d at %s, needs its key until %s (exp and skew), and token_horizon is %.1f s earlier",
			u.longest.tenant.slug, k.kid, u.longest.from.replica, r.at(u.longest.from.began), r.at(needed), needed.Sub(*k.horizon).Seconds())
	}
	if k.expires != nil && needed.After(*k.expires) {
		s.once(r, tokensOutlived, name+"expiry", u.longest.from.began, "a token of %s by %s, asked of replica-%d at %s, needs its key until %s (exp and skew), and expires_at is %.1f s earlier",
			u.longest.tenant.slug, k.kid, u.longest.from.replica, r.at(u.longest.from.began), r.at(needed), needed.Sub(*k.expires).Seconds())
	}
}
