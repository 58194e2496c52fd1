package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// model is how one verifier in the field caches a JWKS. The proportions are
// theirs; their times are scaled to the short policies of the campaign, in
// which 4 s stand for 10 to 20 minutes. The longest that one keeps to a set that
// lacks a key must end before the lead does, as with real leads.
type model struct {
	name     string
	perKID   bool          // caches single keys, not the set
	age      time.Duration // 0: without limit
	refetch  bool          // an unknown kid makes it fetch again
	cooldown time.Duration // after a fetch, in which it does not
}

var models = []model{
	{name: "follows Cache-Control", age: 3 * time.Second},
	{name: "jose createRemoteJWKSet", age: 4 * time.Second, refetch: true, cooldown: 200 * time.Millisecond},
	{name: "go-oidc RemoteKeySet", refetch: true},
	{name: "jwks-rsa", perKID: true, age: 4 * time.Second, refetch: true},
	{name: "go-jwt-middleware", age: 2 * time.Second},
	{name: "Istio", age: 4 * time.Second},
	{name: "keyfunc", age: 10 * time.Second, refetch: true, cooldown: 2 * time.Second},
	{name: "PyJWKClient with cache_keys", perKID: true, refetch: true},
}

// cached is a key in a verifier's cache.
type cached struct {
	fetched time.Time
	stale   bool // the set said of itself that it may be outdated
	replica int
}

// verifier is one relying party of one tenant.
type verifier struct {
	model
	tenant *tenant
	pinned int // the replica it fetches from; -1: any

	mu      sync.Mutex
	keys    map[string]cached
	fetched time.Time // the set
	last    cached
	failed  bool // the last fetch: what is cached is used on
}

func newVerifier(m model, t *tenant, pinned int) *verifier {
	return &verifier{model: m, tenant: t, pinned: pinned, keys: map[string]cached{}}
}

// meet lets the verifier judge a token that a replica has just signed. Its key
// has been published for the lead, so every verifier must know it.
func (v *verifier) meet(ctx context.Context, c *campaign, tok token) {
	v.mu.Lock()
	defer v.mu.Unlock()
	accepted := v.accepts(ctx, c, tok.kid)
	if ctx.Err() != nil || time.Now().After(tok.ends) {
		return
	}
	c.record.check(noRejection, 1)
	if accepted || v.failed || v.last.stale {
		return
	}
	c.record.brokeDuring(noRejection, tok.from.began, time.Now(), "%s rejects a token of %s by %s, signed by replica-%d at %s; its set is %.1f s old and from replica-%d",
		v.name, v.tenant.slug, tok.kid, tok.from.replica, c.record.at(tok.from.ended), time.Since(v.last.fetched).Seconds(), v.last.replica)
}

// accepts reports whether the verifier has or gets the key.
func (v *verifier) accepts(ctx context.Context, c *campaign, kid string) bool {
	if v.perKID {
		key, known := v.keys[kid]
		if known && (v.age == 0 || time.Since(key.fetched) < v.age) {
			v.last = key
			return true
		}
		return slices.Contains(v.fetch(ctx, c), kid) && v.keep(kid)
	}
	if v.fetched.IsZero() || v.age > 0 && time.Since(v.fetched) > v.age {
		v.fetchSet(ctx, c)
	}
	if _, known := v.keys[kid]; known {
		return true
	}
	if v.refetch && time.Since(v.fetched) >= v.cooldown {
		v.fetchSet(ctx, c)
	}
	_, known := v.keys[kid]
	return known
}

func (v *verifier) keep(kid string) bool {
	v.keys[kid] = v.last
	return true
}

// fetchSet replaces the whole set, unless there is none to be had.
func (v *verifier) fetchSet(ctx context.Context, c *campaign) {
	kids := v.fetch(ctx, c)
	if v.failed {
		return
	}
	v.fetched = v.last.fetched
	clear(v.keys)
	for _, kid := range kids {
		v.keys[kid] = v.last
	}
}

// fetch asks replicas until one answers, as behind a load balancer.
func (v *verifier) fetch(ctx context.Context, c *campaign) (kids []string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	order := rand.Perm(len(c.replicas))
	if v.pinned >= 0 {
		order = []int{v.pinned}
	}
	for _, replica := range order {
		a := answer{replica: replica, id: "verifier", began: time.Now()}
		a.send(ctx, c, c.replicas[replica], request{method: http.MethodGet, path: "/t/" + v.tenant.slug + "/.well-known/jwks.json", anonymous: true})
		if !a.ok() {
			continue
		}
		if set, fault := readKeySet(v.tenant, a); fault == "" {
			v.failed, v.last = false, cached{a.began, a.stale(), replica}
			return set.kids
		}
	}
	v.failed = true
	return nil
}

// trustWatch holds revocations to the trusted_until that their answers promised.
type trustWatch struct {
	*campaign
	pending sync.WaitGroup
}

// watch polls verifiers that follow Cache-Control, one at each replica, until
// the promised time is over; from then on none may accept the key. A replica
// that hears nothing may serve it for deafness longer, unless the answer said
// that all replicas have confirmed.
func (t *trustWatch) watch(ctx context.Context, of *tenant, kid string, a answer, said revoked) {
	var until time.Time
	for _, class := range said.TrustedUntil {
		if class.Class == "follows Cache-Control" && class.Until != nil {
			until = *class.Until
		}
	}
	if until.IsZero() {
		t.record.broke(trustEnds, "the revocation of %s's %s promises nothing for verifiers that follow Cache-Control: %s", of.slug, kid, a.said())
		return
	}
	if said.Replicas == nil || said.Replicas.Live != said.Replicas.Confirmed {
		until = until.Add(deafness)
	}
	m := models[0]
	m.age = of.maxAge + of.stale
	for replica := range t.replicas {
		v := newVerifier(m, of, replica)
		t.pending.Go(func() { t.poll(ctx, v, kid, until, a) })
	}
}

func (t *trustWatch) poll(ctx context.Context, v *verifier, kid string, until time.Time, a answer) {
	for time.Now().Before(until.Add(time.Second)) {
		v.accepts(ctx, t.campaign, kid)
		if pause(ctx, 700*time.Millisecond) != nil {
			return
		}
	}
	accepted := v.accepts(ctx, t.campaign, kid)
	if ctx.Err() != nil || v.failed || v.last.stale {
		return // it cannot be reached, or says that it is outdated
	}
	t.record.check(trustEnds, 1)
	if accepted {
		t.record.brokeDuring(trustEnds, a.began, time.Now(), "%s's key %s is trusted by a verifier that follows Cache-Control at replica-%d, %.1f s after the revocation was answered at %s and %.1f s after it was promised to end",
			v.tenant.slug, kid, v.pinned, time.Since(a.ended).Seconds(), t.record.at(a.ended), time.Since(until).Seconds())
	}
}
