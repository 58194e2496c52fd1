package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// token is a token that a replica signed.
type token struct {
	tenant       *tenant
	text, kid    string
	issued, ends time.Time // iat, exp
	from         answer
}

// keySet is a JWKS as it was served.
type keySet struct {
	tenant *tenant
	kids   []string
	keys   jose.JSONWebKeySet
	from   answer
}

// reader asks one replica for tokens and key sets of all tenants.
type reader struct {
	*campaign
	replica int
	random  *rand.Rand
	known   map[string]time.Time // by tenant: when the replica's life began in which it has served the set
}

// read reads until ctx is over.
func (r *reader) read(ctx context.Context) {
	for ctx.Err() == nil {
		t := r.choose()
		if r.random.IntN(3) == 0 {
			r.keySet(ctx, t)
		} else if tok := r.sign(ctx, t); tok != nil {
			r.examine(ctx, *tok)
		}
		_ = r.rest(ctx, time.Duration(40+r.random.IntN(80))*time.Millisecond)
	}
}

// choose picks a tenant: as often one of the crowd as one of the others.
func (r *reader) choose() *tenant {
	crowd := r.random.IntN(2) == 0
	for {
		if t := r.tenants[r.random.IntN(len(r.tenants))]; t.crowd == crowd {
			return t
		}
	}
}

// sign asks for a token.
func (r *reader) sign(ctx context.Context, t *tenant) *token {
	a := r.ask(ctx, r.replica, request{
		kind: "sign", method: "POST", path: t.path() + "/tokens", body: map[string]any{"claims": map[string]any{"sub": "torture"}, "ttl_seconds": int(t.ttl.Seconds())},
		bound: signBound, promise: boundedSign, ifFailed: true,
	})
	if ctx.Err() != nil {
		return nil
	}
	if !a.ok() {
		if a.err == nil && a.status < 500 {
			r.record.broke(expectedAnswers, "a token of %s: %s", t.slug, a.said())
		}
		return nil
	}
	r.record.check(tokensGood, 1)
	tok, err := readToken(t, a)
	if err != nil {
		r.record.broke(tokensGood, "a token of %s: %v: %s", t.slug, err, a.said())
		return nil
	}
	r.clocks.judgeToken(r.record, r.replicas[r.replica], tok)
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	u := r.seen.use(t.id, tok.kid)
	if a.began.After(u.lastSigned.from.began) {
		u.lastSigned = tok
	}
	if tok.ends.After(u.longest.ends) {
		u.longest = tok
	}
	return &tok
}

// readToken reads a token and holds its claims against the answer it came with.
func readToken(t *tenant, a answer) (tok token, err error) {
	var said struct {
		Token, KID string
		ExpiresAt  time.Time `json:"expires_at"`
	}
	if err := a.decode(&said); err != nil {
		return tok, err
	}
	parts := strings.Split(said.Token, ".")
	if len(parts) != 3 {
		return tok, fmt.Errorf("%d parts", len(parts))
	}
	var header struct{ KID, Alg string }
	var claims struct {
		Iss      string
		Iat, Exp int64
	}
	for i, into := range []any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return tok, err
		}
		if err := json.Unmarshal(text, into); err != nil {
			return tok, err
		}
	}
	tok = token{tenant: t, text: said.Token, kid: header.KID, issued: time.Unix(claims.Iat, 0), ends: time.Unix(claims.Exp, 0), from: a}
	switch {
	case header.KID != said.KID || header.Alg != t.alg:
		return tok, fmt.Errorf("the header names %s and %s", header.KID, header.Alg)
	case claims.Iss != t.issuer:
		return tok, fmt.Errorf("iss is %s", claims.Iss)
	case claims.Exp != said.ExpiresAt.Unix() || tok.ends.Sub(tok.issued) > t.ttl:
		return tok, fmt.Errorf("it lives from %v to %v", tok.issued, tok.ends)
	}
	return tok, nil
}

// examine verifies a token with the set that the same replica serves right
// after, gives it to another replica to verify, and to the model verifiers.
func (r *reader) examine(ctx context.Context, tok token) {
	for _, v := range r.verifiers[tok.tenant] {
		v.meet(ctx, r.campaign, tok)
	}
	set := r.keySet(ctx, tok.tenant)
	if set == nil || r.replicas[r.replica].wasAway(tok.from.began, set.from.ended) {
		return
	}
	keys := set.keys.Key(tok.kid)
	if len(keys) == 0 {
		r.seen.doubt(doubt{set.from.ended, tokensGood, func(h *history) string {
			if k := h.key(tok.tenant.id, tok.kid); k != nil && !k.publishedTo.IsZero() && k.publishedTo.Before(set.from.ended) {
				return ""
			}
			return fmt.Sprintf("replica-%d signed with %s of %s (request %s, answered at %s), and the set that it was asked for %.3f ms later (request %s) lacks the key (stale: %v)",
				r.replica, tok.kid, tok.tenant.slug, tok.from.id, r.record.at(tok.from.ended), float64(set.from.began.Sub(tok.from.ended).Microseconds())/1000, set.from.id, set.from.stale())
		}})
		return
	}
	jws, err := jose.ParseSignedCompact(tok.text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(tok.tenant.alg)})
	if err == nil {
		_, err = jws.Verify(keys[0])
	}
	if err != nil {
		r.record.broke(tokensGood, "a token of %s by key %s does not verify: %v", tok.tenant.slug, tok.kid, err)
	}
	if r.random.IntN(4) == 0 {
		r.elsewhere(ctx, tok)
	}
}

// elsewhere lets another replica verify a token.
func (r *reader) elsewhere(ctx context.Context, tok token) {
	other := (r.replica + 1 + r.random.IntN(len(r.replicas)-1)) % len(r.replicas)
	a := r.ask(ctx, other, request{kind: "verify", method: "POST", path: tok.tenant.path() + "/tokens/verify", body: map[string]any{"token": tok.text}})
	var said struct {
		Valid bool
		Code  string
	}
	if !a.ok() || a.decode(&said) != nil {
		return
	}
	r.record.check(tokensGood, 1)
	if said.Valid || a.ended.After(tok.ends) || r.clocks.moved(r.replicas[r.replica], tok.from.began, a.ended) || r.clocks.moved(r.replicas[other], tok.from.began, a.ended) {
		return
	}
	r.seen.doubt(doubt{a.ended, tokensGood, func(h *history) string {
		k := h.key(tok.tenant.id, tok.kid)
		if k == nil {
			return "there is no key " + tok.kid
		}
		if !k.publishedTo.IsZero() && k.publishedTo.Before(a.ended) {
			return "" // revoked
		}
		if a.began.Sub(k.activeFrom) < deafness+time.Second && a.began.Sub(k.published) < deafness+time.Second {
			return "" // fresh: the other one may not have heard of it
		}
		return fmt.Sprintf("replica-%d signed a token of %s with %s, and replica-%d says at %s that it is not valid: %s (the key is published since %s)",
			r.replica, tok.tenant.slug, tok.kid, other, r.record.at(a.ended), said.Code, r.record.at(k.published))
	}})
}

// keySet asks for a tenant's JWKS and checks its form.
func (r *reader) keySet(ctx context.Context, t *tenant) *keySet {
	req := request{kind: "key set", method: "GET", path: "/t/" + t.slug + "/.well-known/jwks.json", anonymous: true}
	born := r.replicas[r.replica].born()
	if r.known[t.slug].Equal(born) {
		req.kind, req.bound, req.promise = "key set in memory", setBound, boundedSet
	}
	a := r.ask(ctx, r.replica, req)
	if ctx.Err() != nil {
		return nil
	}
	if !a.ok() {
		delete(r.known, t.slug)
		if a.err == nil && a.status < 500 {
			r.record.broke(expectedAnswers, "the key set of %s: %s", t.slug, a.said())
		}
		return nil
	}
	r.known[t.slug] = born
	set, fault := readKeySet(t, a)
	r.record.check(setsGood, 1)
	if fault == "" {
		fault = r.sameBody(t, a)
	}
	if fault != "" {
		r.record.broke(setsGood, "%s: %s: %s", t.slug, fault, a.said())
		return nil
	}
	if !a.stale() {
		r.observe(set)
	}
	return set
}

// sameBody holds the ETag against all bodies that came with it.
func (r *reader) sameBody(t *tenant, a answer) string {
	etag := a.header.Get("ETag")
	if len(etag) < 3 || etag[0] != '"' {
		return "no strong ETag: " + etag
	}
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	sum := sha256.Sum256(a.body)
	before, known := r.seen.bodies[t.id+etag]
	if known && before != sum {
		return "two bodies have the ETag " + etag
	}
	r.seen.bodies[t.id+etag] = sum
	return ""
}

// members that a public JWK has, and no other.
var members = []string{"kty", "kid", "use", "alg", "crv", "x", "y", "n", "e", "pub"}

// readKeySet reads a set and returns the faults of its form.
func readKeySet(t *tenant, a answer) (*keySet, string) {
	set := &keySet{tenant: t, from: a}
	var raw struct{ Keys []map[string]any }
	if err := a.decode(&raw); err != nil {
		return nil, err.Error()
	}
	for _, key := range raw.Keys {
		for name := range key {
			if !slices.Contains(members, name) {
				return nil, "a key has the member " + name
			}
		}
		kid, _ := key["kid"].(string)
		if kid == "" || slices.Contains(set.kids, kid) || key["use"] != "sig" {
			return nil, fmt.Sprintf("a key has kid %q and use %v", kid, key["use"])
		}
		set.kids = append(set.kids, kid)
	}
	if len(set.kids) == 0 {
		return nil, "it is empty"
	}
	if err := json.Unmarshal(a.body, &set.keys); err != nil {
		return nil, err.Error()
	}
	return set, ""
}

// observe notes which keys a set has that claims to be current.
func (r *reader) observe(set *keySet) {
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	for _, kid := range set.kids {
		if u := r.seen.use(set.tenant.id, kid); set.from.began.After(u.lastServed) {
			u.lastServed, u.servedBy = set.from.began, r.replica
		}
	}
	first, from := set.kids[0], set.from
	r.seen.doubts = append(r.seen.doubts, doubt{from.ended, setsGood, func(h *history) string {
		k := h.key(set.tenant.id, first)
		if k != nil && !k.activeFrom.IsZero() && k.activeFrom.Before(from.ended) && (k.activeTo.IsZero() || from.began.Sub(k.activeTo) < deafness+time.Second) {
			return ""
		}
		return fmt.Sprintf("the set of %s that replica-%d served at %s begins with %s, which was not active then", set.tenant.slug, r.replica, r.record.at(from.ended), first)
	}})
}
